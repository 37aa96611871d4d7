"""Checkpoints from which a training goes on to the same bits: weights, optimiser, schedule, position, random state."""

import os
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint

from rwtl.errors import InputError
from rwtl.training.interruption import Interruption


class Resumption(Checkpoint):
    """Saves a checkpoint after every validation, now and then, and before a training is interrupted.

    Lightning calls it after all other callbacks, whose state is saved too.

    Args:
        file: the checkpoint, which is replaced in one step.
        minutes: at least so many between checkpoints, besides validations.
        validate_every: steps between validations.
        interruption: the signals that wait for a checkpoint.
    """

    def __init__(self, file: Path, minutes: float, validate_every: int, interruption: Interruption):
        self.file = file
        self.minutes = minutes
        self.validate_every = validate_every
        self.interruption = interruption
        self._random: dict[str, Any] | None = None

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.saved = time.monotonic()
        self.interruption.hold()  # now, for Lightning sets handlers of its own when it begins
        if self._random is not None:
            set_random_state(self._random)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step % self.validate_every == 0:
            return  # a validation follows, and with a checkpoint from before it Lightning would leave it out
        overdue = time.monotonic() - self.saved > 60 * self.minutes
        if self._any(trainer, overdue or self.interruption.pending is not None):
            self._save(trainer)
            self.interruption.deliver()

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit":
            self._save(trainer)
            self.interruption.deliver()

    def _any(self, trainer: pl.Trainer, wanted: bool) -> bool:
        """Return whether any process wants a checkpoint, for all take part in it."""
        return trainer.strategy.reduce_boolean_decision(wanted, all=False)

    def _save(self, trainer: pl.Trainer) -> None:
        draft = self.file.with_name(f"{self.file.name}.draft")
        try:
            trainer.save_checkpoint(draft)
            if trainer.is_global_zero:
                os.replace(draft, self.file)
        finally:
            if trainer.is_global_zero:
                draft.unlink(missing_ok=True)
        self.saved = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        return random_state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._random = state_dict


def random_state() -> dict[str, Any]:
    """Return the state of the random numbers of PyTorch, NumPy and Python, in types that any checkpoint may hold."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002
    version, internal, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), *map(float, rest)],
        "python": [version, list(internal), gauss],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Set what `random_state` returned."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, position, has_gauss, cached = state["numpy"]
    numpy_state = (name, keys.numpy().astype(np.uint32), int(position), int(has_gauss), cached)
    np.random.set_state(numpy_state)  # noqa: NPY002
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))


def load_checkpoint(file: Path) -> dict[str, Any] | None:
    """Return the checkpoint that an interrupted training left; None where there is none.

    Raises InputError where it cannot be read.
    """
    if not file.is_file():
        return None
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(
            f"{file} cannot be read ({type(error).__name__}); remove it, and the training begins anew"
        ) from error
