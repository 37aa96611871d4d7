"""Simulate a recording of retinal waves and draw it."""

from omegaconf import DictConfig

from rwtl.pipeline.artifact import Artifact
from rwtl.sweeps.app import experiment


@experiment("simulate")
def main(cfg: DictConfig) -> Artifact:
    from rwtl.pipeline.recording import recording

    return recording(cfg)
