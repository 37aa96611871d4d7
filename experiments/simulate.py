"""Simulate a recording of retinal waves and draw it."""

import hydra
from omegaconf import DictConfig

from rwtl import files
from rwtl.pipeline.artifact import Artifact, build
from rwtl.sweeps.app import experiment


@hydra.main(version_base="1.3", config_path="../conf", config_name="simulate")
@experiment("rwtl.pipeline.recording.recording")
def main(cfg: DictConfig) -> Artifact:
    from rwtl.pipeline.recording import recording

    made = build(recording(cfg))
    print((made.path / files.STATISTICS).read_text())
    print(f"recording: {made.path / files.RECORDING}")
    shown = files.PAGE if (made.path / files.PAGE).exists() else files.MOSAIC
    print(f"page:      {made.path / shown}")
    return made


if __name__ == "__main__":
    main()
