"""Checkpoints from which a training is resumed bit-identically, and the signals that ask it to stop there."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint

from rwtl.errors import InputError
from rwtl.files import is_file, replaced
from rwtl.models.checkpoints import not_finite
from rwtl.progress import require_ours

# Of a SLURM job, before its time limit and where it must make room: what submitit asks SLURM to send.
PREEMPT_SIGNAL = "SUBMITIT_PREEMPT_SIGNAL"
STDERR = 2


class Interruption:
    """Holds back Ctrl-C, SIGTERM and SLURM's warning until `deliver`; the same signal again is not held back.

    A context manager, to be used in the main thread; in another it does nothing. A signal that is ignored stays so.

    Attributes:
        pending: the signal that waits, or None.
    """

    def __init__(self) -> None:
        self.pending: signal.Signals | None = None
        self._frame: FrameType | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, _preempt_signal()):
                before = signal.getsignal(number)
                caught = before is not signal.SIG_DFL or number is not _preempt_signal()
                if caught and before not in (signal.SIG_IGN, None):
                    self._before[number] = before
        return self

    def hold(self) -> None:
        """Begin to hold signals back; call it again after other code has set handlers."""
        for number in self._before:
            signal.signal(number, self._hold)

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        if self.pending == number:
            self.deliver()
            return
        self.pending, self._frame = signal.Signals(number), frame
        # Not print: its lock may be held by what the signal has interrupted.
        os.write(STDERR, f"\n  {self.pending.name}: saves, then ends; again to end at once\n".encode())

    def deliver(self) -> None:
        """Hand a signal that waits to the handler it was held back from, which may raise or end the process."""
        if self.pending is None:
            return
        number, self.pending = self.pending, None
        before = self._before[number]
        if before is signal.SIG_DFL:
            signal.signal(number, before)
            os.kill(os.getpid(), number)
        else:
            before(number, self._frame)


def _preempt_signal() -> signal.Signals:
    return signal.Signals["SIG" + os.environ.get(PREEMPT_SIGNAL, "USR2")]


class Resumption(Checkpoint):
    """Saves a checkpoint after every validation, now and then, and before a training is interrupted.

    Lightning calls it after all other callbacks, whose state is saved too.

    Args:
        file: the checkpoint, which is replaced in one step.
        minutes: shortest time between checkpoints, apart from those of validations.
        validate_every: steps between validations.
        interruption: signals that wait for a checkpoint.
        check: raises InputError where the state of a trainer and its module must not be saved.
    """

    def __init__(
        self,
        file: Path,
        minutes: float,
        validate_every: int,
        interruption: Interruption,
        check: Callable[[pl.Trainer, pl.LightningModule], None],
    ):
        self.file = file
        self.minutes = minutes
        self.validate_every = validate_every
        self.interruption = interruption
        self.check = check
        self._random: dict[str, Any] | None = None

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        for draft in self.file.parent.glob(f".{self.file.name}.*.partial") if trainer.is_global_zero else ():
            draft.unlink()  # of a process that was killed as it wrote a checkpoint
        self.saved = time.monotonic()
        self.interruption.hold()  # now, for Lightning sets handlers of its own when it begins
        if self._random is not None:
            set_random_state(self._random)

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        if trainer.global_step % self.validate_every == 0:
            return  # a validation follows, and with a checkpoint from before it Lightning would leave it out
        wanted = time.monotonic() - self.saved > 60 * self.minutes or self.interruption.pending is not None
        if trainer.strategy.reduce_boolean_decision(wanted, all=False):  # by any process, for all take part in it
            self._save(trainer, module)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit":
            self._save(trainer, module)

    def _save(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Save a checkpoint, which the first process alone writes, and let a signal that waits take effect."""
        require_ours()
        try:
            self.check(trainer, module)
        except InputError:
            self.interruption.deliver()  # who has asked for an end is heard first; the checkpoint before stays
            raise
        with replaced(self.file) if trainer.is_global_zero else nullcontext(self.file) as draft:
            trainer.save_checkpoint(draft)
        self.saved = time.monotonic()
        self.interruption.deliver()

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

    Raises InputError where it cannot be read, or holds a weight that is not finite.
    """
    try:
        if not is_file(file):
            return None
        with ZipFile(file) as parts:
            damaged = parts.testzip()  # PyTorch reads over a flipped bit
        if damaged is not None:
            raise BadZipFile(f"the checksum of {damaged} does not match")
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
        names = not_finite(checkpoint["state_dict"])
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"{file} cannot be read ({reason}); remove it, and the training begins anew") from error
    if names:
        raise InputError(
            f"{file}: {names[0]} holds values that are not finite; remove it, and the training begins anew"
        )
    return checkpoint
