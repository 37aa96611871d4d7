"""Build the W&B workspace of a sweep from what its runs have logged; without a login, as a JSON file.

# Of a sweep whose runs were logged with logger=wandb; rwtl status lists sweeps.
rwtl dashboard sweep=NAME
# Of its pre-trainings.
rwtl dashboard sweep=NAME stage=pretraining
# Published, where you are logged in.
rwtl dashboard sweep=NAME logger.wandb.mode=online logger.wandb.project=waves
"""

from omegaconf import DictConfig

from rwtl.sweeps.app import program


@program("dashboard")
def main(cfg: DictConfig) -> None:
    from rwtl.tracking.dashboard import dashboard

    print(f"specification: {dashboard(cfg)}")
