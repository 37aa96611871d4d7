"""Compare runs over seeds, made where they are missing or read from wherever they are, and report what they show."""

import hydra
from omegaconf import DictConfig

from rwtl.compare.comparison import comparison, where
from rwtl.sweeps.app import readable_errors


@hydra.main(version_base="1.3", config_path="../conf", config_name="compare")
@readable_errors
def main(cfg: DictConfig) -> None:
    print(where(comparison(cfg)))


if __name__ == "__main__":
    main()
