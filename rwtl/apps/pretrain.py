"""Pre-train on a source task, such as next-frame prediction on waves, simulating the recording first where missing."""

from omegaconf import DictConfig

from rwtl.pipeline.artifact import Artifact
from rwtl.sweeps.app import experiment


@experiment("pretrain")
def main(cfg: DictConfig) -> Artifact:
    from rwtl.pipeline.pretraining import pretraining

    return pretraining(cfg)
