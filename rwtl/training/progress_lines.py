"""The progress of a training, in lines."""

import pytorch_lightning as pl
import torch

from rwtl.errors import InputError
from rwtl.progress import Progress

CHECK_EVERY = 10  # steps


class ProgressLines(pl.Callback):
    """Prints steps done, time left, the loss and the last validation."""

    def __init__(self, label: str, steps: int, metric: str):
        self.label = label
        self.steps = steps
        self.metric = metric

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.progress = Progress(self.label, self.steps, "steps")

    def on_train_batch_end(self, trainer: pl.Trainer, *_) -> None:
        metrics = trainer.callback_metrics
        # A GPU is asked for its numbers only now and then, for it would have to wait for them.
        if trainer.global_step % CHECK_EVERY == 0 and "loss" in metrics and not torch.isfinite(metrics["loss"]):
            raise InputError(
                f"{self.label}: the loss is {metrics['loss']:g} at step {trainer.global_step}; lower the learning rate"
            )
        known = [name for name in ("loss", self.metric) if name in metrics]
        self.progress(trainer.global_step, lambda: " · ".join(f"{name} {metrics[name]:.4g}" for name in known))
