"""Estimate the flow of your own images, film or recording, by a RAFT checkpoint of any kind."""

from omegaconf import DictConfig

from rwtl.sweeps.app import program


@program("predict")
def main(cfg: DictConfig) -> None:
    from rwtl.predicting.app import run

    run(cfg)
