"""Simulate a recording of retinal waves and draw it."""

from omegaconf import DictConfig

from rwtl import files
from rwtl.pipeline.artifact import Artifact, build
from rwtl.sweeps.app import experiment


@experiment("simulate", "rwtl.pipeline.recording.recording")
def main(cfg: DictConfig) -> Artifact:
    from rwtl.pipeline.recording import recording

    made = build(recording(cfg))
    print((made.path / files.STATISTICS).read_text())
    print(f"recording: {made.path / files.RECORDING}")
    shown = files.PAGE if (made.path / files.PAGE).exists() else files.MOSAIC
    print(f"page:      {made.path / shown}")
    return made
