"""Evaluate a RAFT checkpoint of any kind, or the run that the configuration describes, on any data sets."""

from omegaconf import DictConfig

from rwtl.pipeline.artifact import Artifact
from rwtl.sweeps.app import experiment


@experiment("evaluate")
def main(cfg: DictConfig) -> Artifact:
    from rwtl.pipeline.evaluation import evaluation

    return evaluation(cfg)
