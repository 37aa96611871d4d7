"""Evaluate a RAFT checkpoint of any kind, or the run that the configuration describes, on any data sets."""

import hydra
from omegaconf import DictConfig

from rwtl.study import stages
from rwtl.study.app import readable_errors
from rwtl.study.tables import print_evaluation


@hydra.main(version_base="1.3", config_path="../conf", config_name="evaluate")
@readable_errors
def main(cfg: DictConfig) -> None:
    made = stages.evaluation(cfg)
    print_evaluation(stages.errors_by_pair(made))
    print(f"table: {made.path / stages.ERRORS}")


if __name__ == "__main__":
    main()
