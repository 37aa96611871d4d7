"""What a training must not do without a word: cease to be finite, or learn from nothing."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from rwtl.errors import InputError
from rwtl.learning.devices import Rank
from rwtl.learning.recipe import Task
from rwtl.models.checkpoints import not_finite
from rwtl.sampling import SampleStream, samples_of

# Samples in a row of one data set in which nothing counts that are no accident, however sparse its flow is.
BARREN = 1000


class Checks(pl.Callback):
    """Ends a training, by an InputError, that is not finite any more or that learns from nothing.

    The loss of every step is looked at, and what counted in it, but only now and then: every few steps, where the log
    looks too, at a validation and before a checkpoint, so that a GPU is not waited for at each step. The metrics are
    looked at after every validation, the weights before a checkpoint.

    A batch in which nothing counts is no error, for flow may be sparse. It is an error that nothing counted in the last
    BARREN samples of a data set, or in a whole training. Tasks in which not everything counts say what does by their
    `counted` (see `rwtl.learning.recipe.Task`).

    Args:
        label: names the training.
        steps, batch_size: of the training.
        every: steps between looks, apart from those before a checkpoint.
        stream: what is trained on, which tells data sets apart.
        metrics: of the validation, all of which must be finite but for those in the module's `uncounted`.
        rank: which of the processes that train together this is; all of them look, at the same steps.
    """

    def __init__(
        self,
        label: str,
        steps: int,
        batch_size: int,
        every: int,
        stream: SampleStream,
        metrics: Sequence[str],
        rank: Rank,
    ):
        self.label = label
        self.steps = steps
        self.batch_size = batch_size
        self.every = every
        self.stream = stream
        self.metrics = list(metrics)
        self.rank = rank
        self.losses: list[Tensor] = []  # since the last look, on the device
        self.counted: list[Tensor] = []
        # By part of the stream, samples and pixels since one counted; and samples, pixels, and how many counted in all.
        self.barren = torch.zeros(len(stream.parts), 2, dtype=torch.float64)
        self.total = torch.zeros(3, dtype=torch.float64)

    def on_train_batch_end(self, trainer: pl.Trainer, module: Task, outputs: Any, batch: Any, batch_idx: int) -> None:
        loss = outputs["loss"] if isinstance(outputs, Mapping) else outputs
        self.losses.append(loss.detach())
        if module.counted is not None:
            self.counted.append(module.counted)
        if trainer.global_step % self.every == 0:
            self._look(trainer, module)

    def on_validation_end(self, trainer: pl.Trainer, module: Task) -> None:
        self._look(trainer, module)  # first, for what has made a metric what it is
        for name in self.metrics:
            value = float(trainer.callback_metrics[name])
            if not isfinite(value) and name not in module.uncounted:
                raise InputError(
                    f"{self.label}: the validation's {name} is {value:g} at step {trainer.global_step}; "
                    f"{_remedy(trainer.global_step)}"
                )

    def before_checkpoint(self, trainer: pl.Trainer, module: Task) -> None:
        """Raise InputError where what would be saved is no state to go on with."""
        self._look(trainer, module)
        require_finite(module, f"{self.label} at step {trainer.global_step}")
        samples, pixels, counted = self.total.tolist()
        if trainer.global_step == self.steps and samples and not counted:
            self._raise_barren(module, [part.called for part in self.stream.parts], samples, pixels)

    def _look(self, trainer: pl.Trainer, module: Task) -> None:
        """Look at all steps since the last look."""
        if not self.losses:
            return
        first = trainer.global_step - len(self.losses)
        losses = trainer.strategy.reduce(torch.stack(self.losses).float(), reduce_op="mean").tolist()
        self.losses = []
        for step, loss in enumerate(losses, start=first + 1):
            if not isfinite(loss):
                raise InputError(f"{self.label}: the loss is {loss:g} at step {step}; {_remedy(step - 1)}")
        if self.counted:
            self._count(trainer, module, first)

    def _count(self, trainer: pl.Trainer, module: Task, first: int) -> None:
        """Count, by data set, what counted in the steps from number `first` on, 0 being the training's first."""
        counted = torch.cat(self.counted).double().cpu()
        self.counted = []
        steps = range(first, trainer.global_step)
        of = [k for step in steps for k in samples_of(step, self.batch_size, self.rank.number, self.rank.count)]
        parts = torch.tensor([self.stream.part_of(k) for k in of])
        own = torch.zeros(len(self.barren), 3, dtype=torch.float64)
        own.index_add_(0, parts, torch.cat((torch.ones_like(counted[:, :1]), counted), dim=1))
        device = trainer.strategy.root_device
        found = trainer.strategy.reduce(own.to(device), reduce_op="sum").cpu()
        self.total += found.sum(dim=0)
        self.barren = torch.where(found[:, 2:] > 0, 0, self.barren + found[:, :2])
        for part, (samples, pixels) in zip(self.stream.parts, self.barren.tolist(), strict=True):
            if samples >= BARREN:
                self._raise_barren(module, [part.called], samples, pixels)

    def _raise_barren(self, module: Task, names: Sequence[str], samples: float, pixels: float) -> None:
        raise InputError(
            f"{self.label} learns nothing from {', '.join(names)}: of {samples:.0f} samples in a row 0 of "
            f"{pixels:,.0f} pixels count, which are those {module.what_counts}"
        )

    def state_dict(self) -> dict[str, Any]:
        return {"barren": self.barren, "total": self.total}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.barren, self.total = state_dict["barren"], state_dict["total"]


def _remedy(steps: int) -> str:
    """Return what may help where a number is not finite after so many steps; before the first no rate is to blame."""
    return "lower the learning rate" if steps else "look for values in the data that are not finite"


def require_finite(module: nn.Module, label: str) -> None:
    """Raise InputError where a weight or a statistic of a module is not finite, with the names of such tensors."""
    if names := not_finite(module.state_dict()):
        more = f" and {len(names) - 3} more tensors" if len(names) > 3 else ""
        raise InputError(
            f"{label}: {', '.join(names[:3])}{more} hold values that are not finite; lower the learning rate"
        )
