"""What an experiment would reuse and what it would make, and making a part of it: for `status.py` and for clusters."""

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig

from rwtl.errors import InputError
from rwtl.pipeline.artifact import Artifact, Reached, Step, planning, until
from rwtl.pipeline.pretraining import pretraining
from rwtl.pipeline.recording import make_recording, recording, recording_configs
from rwtl.pipeline.stages import evaluation, training

APPS = ("simulate", "pretrain", "train", "evaluate", "compare")
MAKERS = {"pretraining": "pretrain", "training": "train", "evaluation": "evaluate"}


def planned(app: str, cfg: DictConfig) -> list[Step]:
    """Return the artifacts that an experiment needs with a configuration, each once, parents first; makes nothing.

    Args:
        app: one of APPS.
        cfg: its configuration.

    Raises InputError as the experiment would, and for another app.
    """
    with planning() as steps:
        _stage(app)(cfg)
    return list({step.digest: step for step in steps}.values())


def make_step(kind: str, cfg: DictConfig, digest: str) -> Artifact:
    """Make an artifact that `planned` named, and what is missing for it; nothing that comes after it.

    Args:
        kind, cfg, digest: those of its Step.

    Raises InputError where the configuration has no such artifact.
    """
    try:
        with until(digest):
            _make_recording(cfg, digest) if kind == "recording" else _stage(MAKERS[kind])(cfg)
    except Reached as reached:
        return reached.artifact
    raise InputError(f"this configuration makes no {kind} {digest}: was the code or a data set changed since?")


def _make_recording(cfg: DictConfig, digest: str) -> None:
    for config in recording_configs(cfg):
        with planning() as steps:
            make_recording(cfg, config)
        if steps[0].digest == digest:
            make_recording(cfg, config)


def _stage(app: str) -> Callable[[DictConfig], Any]:
    if app == "simulate":
        return recording
    from rwtl.compare.comparison import runs_of

    known = {
        "pretrain": pretraining,
        "train": training,
        "evaluate": evaluation,
        "compare": runs_of,
    }
    if app not in known:
        raise InputError(f"{app!r} is no experiment of stages; choose one of simulate, {', '.join(known)}")
    return known[app]
