"""Train RAFT for optical flow, from scratch or with a pre-trained encoder, building what is missing upstream."""

from omegaconf import DictConfig

from rwtl.pipeline.artifact import Artifact
from rwtl.sweeps.app import experiment


@experiment("train")
def main(cfg: DictConfig) -> Artifact:
    from rwtl.pipeline.flow_training import training

    return training(cfg)
