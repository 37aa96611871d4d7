"""What is measured of a training besides its metrics: learning rate, gradient norm, throughput."""

import time
from typing import Any

import pytorch_lightning as pl
import torch
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

LEARNING_RATE = "learning_rate"
LEARNING_RATE_LOADED = "learning_rate_loaded"
GRADIENT_NORM = "gradient_norm"
THROUGHPUT = "throughput"


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
            logger.log_metrics({"step": trainer.global_step, THROUGHPUT: throughput}, trainer.global_step)
        self.since, self.seconds, self.steps = time.monotonic(), 0.0, 0

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit":
            self._pause()

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.since = time.monotonic()

    def _pause(self) -> None:
        self.seconds += time.monotonic() - self.since
