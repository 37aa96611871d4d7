"""The whole study: from simulated waves to a comparison of freezing strategies, with a report."""

import hydra
from omegaconf import DictConfig

from rwtl.study.app import readable_errors
from rwtl.study.comparison import comparison


@hydra.main(version_base="1.3", config_path="../conf", config_name="compare")
@readable_errors
def main(cfg: DictConfig) -> None:
    made = comparison(cfg)
    print(f"table:  {made.path / 'comparison.csv'}\nreport: {made.path / 'report.html'}")


if __name__ == "__main__":
    main()
