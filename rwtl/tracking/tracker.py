"""Where a training is logged beside its CSV file: what Weights & Biases and TensorBoard have in common."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from pytorch_lightning.loggers import Logger

from rwtl.learning.log import STEP_METRICS
from rwtl.program import git

OF_TRAINING = (*STEP_METRICS, "throughput")


def named(metrics: Iterable[str]) -> dict[str, str]:
    """Return what W&B and TensorBoard call metrics, by their names in the artifact's files: `train/loss`, `val/epe`."""
    return {name: f"{'train' if name in OF_TRAINING else 'val'}/{name}" for name in metrics if name != "step"}


@dataclass(frozen=True)
class Lineage:
    """A result that a training is made from, or makes.

    Args:
        kind, digest: of its artifact.
        path: a file, or a folder that is too large to be uploaded and is referred to where it is.
    """

    kind: str
    digest: str
    path: Path

    @property
    def id(self) -> str:
        return f"{self.kind}-{self.digest}"


@dataclass(frozen=True)
class Tracked:
    """What is trained.

    Args:
        kind, digest: of the artifact that the training makes; a job that goes on with it continues the same run.
        label: names the run to people.
        sweep: the sweep that it belongs to, if any.
        config: the whole configuration, resolved.
        parents: what it is made from, by role.
    """

    kind: str
    digest: str
    label: str
    sweep: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    parents: dict[str, Lineage] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.kind}-{self.digest}"

    def described(self) -> dict[str, Any]:
        """Return the configuration, and under `artifact` which artifact this is, which it is made from, and the commit
        of rwtl that makes it."""
        parents = {role: parent.id for role, parent in self.parents.items()}
        return self.config | {"artifact": {"kind": self.kind, "digest": self.digest, "parents": parents, **git()}}


class Tracker(Logger):
    """Logs one training. It opens with the first number, so that one that is handed to other processes is not open yet.

    Lightning's own loggers are not used: that of W&B takes over whatever run is open in the process, and counts steps
    in a way that the pieces of a run that was resumed offline cannot be told apart.
    """

    def __init__(self, tracked: Tracked):
        super().__init__()
        self.tracked = tracked
        self.notes: list[tuple[str, str, dict[str, int]]] = []
        self.opened: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"opened": None}  # another process opens its own

    @property
    def name(self) -> str:
        return self.tracked.kind

    @property
    def version(self) -> str:
        return self.tracked.digest

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Nothing: the configuration is known from the start."""

    def note(self, name: str, text: str, numbers: dict[str, int]) -> None:
        """Keep a text of several lines, and numbers, that do not change while the training runs."""
        self.notes.append((name, text, numbers))

    @abstractmethod
    def log_picture(self, name: str, picture: UInt8[np.ndarray, "h w 3"], step: int) -> None:
        """Log a picture of the state after so many steps."""

    @abstractmethod
    def result(self, result: Lineage) -> None:
        """Log what the training has made."""

    @abstractmethod
    def close(self, failed: bool) -> None:
        """End the run; a tracker that has logged nothing has none."""


def log_picture(loggers: Iterable[Logger], name: str, picture: UInt8[np.ndarray, "h w 3"], step: int) -> None:
    """Log a picture to all trackers among the loggers.

    Args:
        loggers: of a trainer.
        name: what it shows, for instance `procedural_test/flow`.
        picture: 0..255.
        step: optimiser steps so far.
    """
    for logger in loggers:
        if isinstance(logger, Tracker):
            logger.log_picture(name, picture, step)


def close(trackers: Sequence[Tracker], failed: bool) -> None:
    """Close all trackers in their order, even where closing one fails."""
    with ExitStack() as stack:
        for tracker in reversed(trackers):
            stack.callback(tracker.close, failed)
