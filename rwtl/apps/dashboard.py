"""Build the W&B workspace of a sweep from what its runs have logged; without a login, as a JSON file."""

from omegaconf import DictConfig

from rwtl.sweeps.app import program


@program("dashboard")
def main(cfg: DictConfig) -> None:
    from rwtl.tracking.dashboard import dashboard

    print(f"specification: {dashboard(cfg)}")
