"""What an experiment would reuse and what it would make, and making a part of it: for `status.py` and for clusters."""

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig

from rwtl.errors import InputError
from rwtl.study import recordings
from rwtl.study.artifact import Artifact, Reached, Step, planning, until


def planned(app: str, cfg: DictConfig) -> list[Step]:
    """Return the artifacts that an experiment needs with a configuration, each once, parents first; makes nothing.

    Args:
        app: `simulate`, `pretrain`, `train`, `evaluate` or `compare`.
        cfg: its configuration.

    Raises InputError as the experiment would, and for another app.
    """
    with planning() as steps:
        _stage(app)(cfg)
    return list({step.digest: step for step in steps}.values())


def make_until(app: str, cfg: DictConfig, digest: str) -> Artifact:
    """Make what leads to the artifact of a digest, that one included, and stop there.

    Raises InputError where the experiment has no such artifact.
    """
    try:
        with until(digest):
            _stage(app)(cfg)
    except Reached as reached:
        return reached.artifact
    raise InputError(f"{app} with this configuration makes no artifact {digest}: was the code or a data set changed?")


def _stage(app: str) -> Callable[[DictConfig], Any]:
    if app == "simulate":
        return recordings.recording
    from rwtl.study import stages  # PyTorch takes seconds to load, and a simulation does not need it
    from rwtl.study.comparison import runs_of

    known = {
        "pretrain": stages.pretraining,
        "train": stages.training,
        "evaluate": stages.evaluation,
        "compare": runs_of,
    }
    if app not in known:
        raise InputError(f"{app!r} is no experiment of stages; choose one of simulate, {', '.join(known)}")
    return known[app]
