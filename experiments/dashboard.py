"""Build the W&B workspace of a sweep from what its runs have logged; without a login, as a JSON file."""

import hydra
from omegaconf import DictConfig

from rwtl.sweeps.app import experiment


@hydra.main(version_base="1.3", config_path="../conf", config_name="dashboard")
@experiment()
def main(cfg: DictConfig) -> None:
    from rwtl.tracking.dashboard import dashboard

    print(f"specification: {dashboard(cfg)}")


if __name__ == "__main__":
    main()
