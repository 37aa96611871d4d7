"""Evaluate a RAFT checkpoint of any kind, or the run that the configuration describes, on any data sets."""

import hydra
from omegaconf import DictConfig

from rwtl.compare.tables import print_evaluation
from rwtl.pipeline.stages import ERRORS, errors_by_pair, evaluation
from rwtl.sweeps.app import readable_errors


@hydra.main(version_base="1.3", config_path="../conf", config_name="evaluate")
@readable_errors
def main(cfg: DictConfig) -> None:
    made = evaluation(cfg)
    print_evaluation(errors_by_pair(made))
    print(f"table: {made.path / ERRORS}")


if __name__ == "__main__":
    main()
