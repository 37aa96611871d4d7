"""Simulate a recording of retinal waves and draw it."""

import hydra
from omegaconf import DictConfig

from rwtl.study import recordings
from rwtl.study.app import readable_errors


@hydra.main(version_base="1.3", config_path="../conf", config_name="simulate")
@readable_errors
def main(cfg: DictConfig) -> None:
    made = recordings.recording(cfg)
    print((made.path / recordings.STATISTICS).read_text())
    print(f"recording: {made.path / recordings.RECORDING}")
    shown = recordings.PAGE if (made.path / recordings.PAGE).exists() else recordings.MOSAIC
    print(f"page:      {made.path / shown}")


if __name__ == "__main__":
    main()
