"""The log of a training: every number by the count of optimiser steps before it, in a CSV file and in all loggers."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl

STEP_METRICS = ("loss", "learning_rate", "learning_rate_loaded", "gradient_norm")


class MetricsLog(pl.Callback):
    """Logs STEP_METRICS, as far as they are known, every few steps, and the validation's metrics at every validation.

    The rows are part of a checkpoint, so that the log of a training that was interrupted is that of one that was not:
    what was logged after the checkpoint is dropped, and logged again. Whatever depends on the machine or the hour, such
    as throughput, does not belong here.

    Args:
        file: the CSV, with a column `step`; it is replaced in one step at every validation.
        metrics: names of the validation's metrics.
        every: steps between rows of STEP_METRICS.
    """

    def __init__(self, file: Path, metrics: Sequence[str], every: int):
        self.file = file
        self.metrics = list(metrics)
        self.every = every
        self.rows: list[dict[str, float]] = []

    def curve(self) -> pd.DataFrame:
        """Return the validations: a column `step` and one for each of the metrics."""
        rows = [row for row in self.rows if self.metrics[0] in row]
        return pd.DataFrame(rows, columns=["step", *self.metrics])

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step % self.every == 0:
            self._add(trainer, [name for name in STEP_METRICS if name in trainer.callback_metrics])

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._add(trainer, self.metrics)
        if trainer.is_global_zero:
            self.write()

    def _add(self, trainer: pl.Trainer, names: Sequence[str]) -> None:
        row = {name: float(trainer.callback_metrics[name]) for name in names}
        self.rows.append({"step": trainer.global_step, **row})
        for logger in trainer.loggers:
            logger.log_metrics(row, trainer.global_step)

    def write(self) -> None:
        """Write the file; a reader sees the old or the new one, never half of it."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        draft = self.file.with_name(f"{self.file.name}.draft")
        names = [name for name in (*STEP_METRICS, *self.metrics) if any(name in row for row in self.rows)]
        pd.DataFrame(self.rows, columns=["step", *names]).to_csv(draft, index=False)
        os.replace(draft, self.file)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])
