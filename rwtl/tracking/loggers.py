"""Which loggers a stage's training has, and what they are told of it. Nothing here determines a result."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from rwtl.config import outputs_folder, resolved_yaml
from rwtl.errors import InputError
from rwtl.learning.transfer.report import TransferReport
from rwtl.sections import typed
from rwtl.tracking.tracker import Lineage, Tracked, Tracker, close

LOGGERS = ("wandb", "tensorboard")
TENSORBOARD = "tensorboard"


class Tracking:
    """The loggers of one training.

    Args:
        tracked: what is trained.
        loggers: to be given to `fit`.
    """

    def __init__(self, tracked: Tracked, loggers: list[Tracker]):
        self.tracked = tracked
        self.loggers = loggers

    def transfer(self, report: TransferReport) -> None:
        """Say what was transferred: counts and a table."""
        counts = {"loaded": len(report.loaded), "left_out": len(report.left_out), "shuffled": len(report.shuffled)}
        counts |= {"frozen": len(report.frozen), "batchnorm_in_eval": len(report.batchnorm_in_eval)}
        for logger in self.loggers:
            logger.note("transfer", f"{report}\n\n{report.table()}", counts)

    def model(self, file: Path) -> None:
        """Log the model that was trained, when its file is complete."""
        for logger in self.loggers:
            logger.result(Lineage(self.tracked.kind, self.tracked.digest, file))


def check_loggers(cfg: DictConfig) -> dict[str, Any]:
    """Return the checked configuration of each logger; to be called before any work.

    Raises InputError for a logger or a key that is not known, for a value that W&B would refuse, and where W&B is to be
    used online without a login.
    """
    section = OmegaConf.to_container(cfg.get("logger") or OmegaConf.create(), resolve=True)
    if unknown := set(section) - set(LOGGERS):
        raise InputError(f"logger.{min(unknown)} is no logger; choose of csv, {', '.join(LOGGERS)}")
    configs: dict[str, Any] = {}
    if "wandb" in section:  # imported where they are used: both take their time
        from rwtl.tracking.wandb import WandbConfig, require_accepted

        configs["wandb"] = typed(WandbConfig, section["wandb"], "logger.wandb")
        require_accepted(configs["wandb"], _sweep_of(cfg))
    if "tensorboard" in section:
        from rwtl.tracking.tensorboard import TensorBoardConfig

        configs["tensorboard"] = typed(TensorBoardConfig, section["tensorboard"], "logger.tensorboard")
    return configs


def _sweep_of(cfg: DictConfig) -> str | None:
    return None if cfg.get("sweep") is None else str(cfg.sweep)  # which may look like a number


@contextmanager
def tracking(
    cfg: DictConfig, kind: str, digest: str, label: str, parents: Mapping[str, Lineage] | None = None
) -> Iterator[Tracking]:
    """Return the loggers of the training that makes an artifact, and close them at its end, however it ends.

    Args:
        cfg: the whole configuration, of which `logger` says where to log and `sweep` which sweep this is.
        kind, digest: of the artifact.
        label: names the artifact to people.
        parents: what it is made from, by role.
    """
    configs = check_loggers(cfg)
    config = yaml.safe_load(resolved_yaml(cfg))
    tracked = Tracked(kind, digest, label, _sweep_of(cfg), config, dict(parents or {}))
    loggers: list[Tracker] = []
    if "wandb" in configs and configs["wandb"].mode != "disabled":
        from rwtl.tracking.wandb import WandbTracker

        loggers.append(WandbTracker(configs["wandb"], tracked, outputs_folder(cfg)))
    if "tensorboard" in configs:
        from rwtl.tracking.tensorboard import TensorBoardTracker

        loggers.append(TensorBoardTracker(configs["tensorboard"], tracked, outputs_folder(cfg) / TENSORBOARD))
    try:
        yield Tracking(tracked, loggers)
    except BaseException:
        close(loggers, failed=True)
        raise
    close(loggers, failed=False)
