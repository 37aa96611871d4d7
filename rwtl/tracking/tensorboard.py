"""Trainings in TensorBoard."""

from collections.abc import Callable
from pathlib import Path
from textwrap import indent
from typing import Any

import numpy as np
import yaml
from jaxtyping import UInt8
from pytorch_lightning.utilities import rank_zero_only
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from torch.utils.tensorboard import SummaryWriter

from rwtl.progress import say
from rwtl.sections import Count, section
from rwtl.tracking.tracker import Lineage, Tracked, Tracker, named


@section("logger.tensorboard")
class TensorBoardConfig:
    """How TensorBoard's files are written.

    Args:
        flush_seconds: after so long at most what is logged can be seen.
    """

    flush_seconds: Count = 30


class TensorBoardTracker(Tracker):
    """Logs a training to `folder`/kind/digest.

    A job that goes on with a training declares what an earlier one logged from its own first step on void, so that the
    curve goes on. Where the folder cannot be written the training goes on without; a message says so.

    Args:
        config: how.
        tracked: what is trained.
        folder: of all trainings.
    """

    def __init__(self, config: TensorBoardConfig, tracked: Tracked, folder: Path):
        super().__init__(tracked)
        self.config = config
        self.folder = folder / tracked.kind / tracked.digest
        self.opened: SummaryWriter | None = None
        self.lost = False

    def _use(self, action: Callable[[SummaryWriter], Any], step: int) -> None:
        """Do something with the writer, which is opened now if it has not been yet."""
        try:
            if not self.lost:
                self.opened = self.opened or self._begin(step)
                action(self.opened)
        except OSError as error:
            self.lost, self.opened = True, None
            self._say(f"{self.folder} cannot be written ({error.strerror or error}); the training goes on without it")

    def _begin(self, step: int) -> SummaryWriter:
        resumed = False
        for file in sorted(self.folder.glob("events.*")):
            if _is_read(file):
                resumed = True
            elif file.stat().st_size:  # one that is empty is of a job that was killed at once
                self._say(f"{file} is damaged, or of another program, and not shown")
        writer = SummaryWriter(self.folder, purge_step=step if resumed else None, flush_secs=self.config.flush_seconds)
        if not resumed:
            writer.add_text("configuration", _code(yaml.safe_dump(self.tracked.described())))
            for name, text, numbers in self.notes:
                listed = "\n".join(f"{key}: {value:g}" for key, value in numbers.items())
                writer.add_text(name, _code(f"{text}\n{listed}"))
        return writer

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, int | float], step: int) -> None:
        for key, name in named(metrics).items():
            self._use(lambda writer, key=key, name=name: writer.add_scalar(name, metrics[key], step), step)

    @rank_zero_only
    def log_picture(self, name: str, picture: UInt8[np.ndarray, "h w 3"], step: int) -> None:
        self._use(lambda writer: writer.add_image(name, picture, step, dataformats="HWC"), step)

    def result(self, result: Lineage) -> None:
        """Nothing: TensorBoard keeps no files."""

    def close(self, failed: bool) -> None:
        if self.opened is not None:
            self._use(lambda writer: writer.close(), 0)
            self.opened = None

    def _say(self, what: str) -> None:
        say(f"  {self.tracked.label}: TensorBoard: {what}; metrics.csv has all numbers")


def _is_read(file: Path) -> bool:
    """Return whether TensorBoard finds an event in a file."""
    try:
        return next(RawEventFileLoader(str(file)).Load(), None) is not None
    except OSError:
        return False


def _code(text: str) -> str:
    return indent(text, "    ")  # to Markdown, lines to be shown as they are
