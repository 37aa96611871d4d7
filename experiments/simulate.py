"""Simulate a recording of retinal waves and draw it."""

import hydra
from omegaconf import DictConfig

from rwtl.pipeline.artifact import Artifact, build
from rwtl.pipeline.recording import MOSAIC, PAGE, RECORDING, STATISTICS, recording
from rwtl.sweeps.app import experiment


@hydra.main(version_base="1.3", config_path="../conf", config_name="simulate")
@experiment(recording)
def main(cfg: DictConfig) -> Artifact:
    made = build(recording(cfg))
    print((made.path / STATISTICS).read_text())
    print(f"recording: {made.path / RECORDING}")
    shown = PAGE if (made.path / PAGE).exists() else MOSAIC
    print(f"page:      {made.path / shown}")
    return made


if __name__ == "__main__":
    main()
