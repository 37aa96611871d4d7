"""Compare runs over seeds, made where they are missing or read from wherever they are, and report what they show."""

from omegaconf import DictConfig

from rwtl.pipeline.artifact import Artifact
from rwtl.sweeps.app import experiment


@experiment("compare")
def main(cfg: DictConfig) -> Artifact:
    from rwtl.comparing.comparison import comparison

    return comparison(cfg)
