"""Compare runs over seeds, made where they are missing or read from wherever they are, and report what they show."""

import hydra
from omegaconf import DictConfig

from rwtl.study.app import readable_errors
from rwtl.study.comparison import comparison, where


@hydra.main(version_base="1.3", config_path="../conf", config_name="compare")
@readable_errors
def main(cfg: DictConfig) -> None:
    print(where(comparison(cfg)))


if __name__ == "__main__":
    main()
