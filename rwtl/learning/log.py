"""The log of a training: its metrics, measurements and progress."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
import torch
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from rwtl.files import replaced
from rwtl.progress import Progress

LEARNING_RATE = "learning_rate"
LEARNING_RATE_LOADED = "learning_rate_loaded"
GRADIENT_NORM = "gradient_norm"
STEP_METRICS = ("loss", LEARNING_RATE, LEARNING_RATE_LOADED, GRADIENT_NORM)


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
        names = [name for name in (*STEP_METRICS, *self.metrics) if any(name in row for row in self.rows)]
        with replaced(self.file) as draft:
            pd.DataFrame(self.rows, columns=["step", *names]).to_csv(draft, index=False)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])


class Measurements(pl.Callback):
    """Every few steps, hands learning rate and gradient norm to the trainer's metrics, and throughput to its loggers.

    `learning_rate` is that of the step, `learning_rate_loaded` that of what a transfer loaded, where it differs;
    `gradient_norm` is over all parameters, before it is clipped; `throughput` is samples in a second, since the last
    measurement and without validations. It goes to no file of the artifact, for it depends on the machine and the hour.

    Args:
        every: steps between measurements.
        batch_size: samples in a step, of all processes together.
    """

    def __init__(self, every: int, batch_size: int):
        self.every = every
        self.batch_size = batch_size

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.since, self.seconds, self.steps = time.monotonic(), 0.0, 0

    def on_before_optimizer_step(self, trainer: pl.Trainer, module: pl.LightningModule, optimizer: Optimizer) -> None:
        if (trainer.global_step + 1) % self.every:
            return
        for group in optimizer.param_groups:
            loaded = group["max_lr"] != module.recipe.learning_rate
            module.log(LEARNING_RATE_LOADED if loaded else LEARNING_RATE, group["lr"], logger=False)
        gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
        module.log(GRADIENT_NORM, get_total_norm(gradients) if gradients else torch.zeros(()), logger=False)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.steps += 1
        if trainer.global_step % self.every:
            return
        self._pause()
        throughput = self.steps * self.batch_size / self.seconds
        for logger in trainer.loggers:
            logger.log_metrics({"step": trainer.global_step, "throughput": throughput}, trainer.global_step)
        self.since, self.seconds, self.steps = time.monotonic(), 0.0, 0

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit":
            self._pause()

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.since = time.monotonic()

    def _pause(self) -> None:
        self.seconds += time.monotonic() - self.since


class ProgressLines(pl.Callback):
    """Prints steps done, time left, the loss and the last validation."""

    def __init__(self, label: str, steps: int, metric: str):
        self.label = label
        self.steps = steps
        self.metric = metric

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.progress = Progress(self.label, self.steps, "steps")

    def on_train_batch_end(self, trainer: pl.Trainer, *_) -> None:
        if trainer.global_step < self.steps:  # the last line waits for the last validation
            self._say(trainer)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit" and 0 < self.steps == trainer.global_step:
            self._say(trainer)

    def _say(self, trainer: pl.Trainer) -> None:
        metrics = trainer.callback_metrics
        known = [name for name in ("loss", self.metric) if name in metrics]
        self.progress(trainer.global_step, lambda: " · ".join(f"{name} {metrics[name]:.4g}" for name in known))
