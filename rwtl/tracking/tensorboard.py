"""Trainings in TensorBoard."""

from pathlib import Path
from textwrap import indent

import numpy as np
import yaml
from jaxtyping import UInt8
from pytorch_lightning.utilities import rank_zero_only
from torch.utils.tensorboard import SummaryWriter

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
    curve goes on.

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

    def _at(self, step: int) -> SummaryWriter:
        if self.opened is None:
            resumed = any(self.folder.glob("events.*"))
            purged = step if resumed else None
            self.opened = SummaryWriter(self.folder, purge_step=purged, flush_secs=self.config.flush_seconds)
            if not resumed:
                self.opened.add_text("configuration", _code(yaml.safe_dump(self.tracked.described())))
                for name, text, numbers in self.notes:
                    listed = "\n".join(f"{key}: {value:g}" for key, value in numbers.items())
                    self.opened.add_text(name, _code(f"{text}\n{listed}"))
        return self.opened

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, int | float], step: int) -> None:
        for key, name in named(metrics).items():
            self._at(step).add_scalar(name, metrics[key], step)

    @rank_zero_only
    def log_picture(self, name: str, picture: UInt8[np.ndarray, "h w 3"], step: int) -> None:
        self._at(step).add_image(name, picture, step, dataformats="HWC")

    def result(self, result: Lineage) -> None:
        """Nothing: TensorBoard keeps no files."""

    def close(self, failed: bool) -> None:
        if self.opened is not None:
            self.opened.close()
            self.opened = None


def _code(text: str) -> str:
    return indent(text, "    ")  # to Markdown, lines to be shown as they are
