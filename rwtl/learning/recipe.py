"""How a model is trained, and where and how fast: recipes, and what the modules of all tasks share."""

import math
from collections.abc import Collection, Iterable
from typing import Annotated, Any, Literal

import pytorch_lightning as pl
import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR
from torchmetrics import MeanMetric
from torchmetrics.aggregation import BaseAggregator

from rwtl.errors import InputError
from rwtl.learning.transfer.callback import Transfer, require_unfreezing_within
from rwtl.models.correlation import CorrelationKind
from rwtl.sections import (
    Count,
    Natural,
    NotNegative,
    OneOf,
    Positive,
    Seed,
    Threads,
    Unfit,
    UpTo1,
    Within01,
    Workers,
    section,
)

# By their names in Lightning; parameters stay in float32.
PRECISIONS = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which a model computes in a precision of PRECISIONS."""
    return torch.autocast(device.type, PRECISIONS[precision], enabled=precision != "32-true")


@section("trainer")
class TrainerConfig:
    """Where and how fast. Of these only the precision is among the values that determine a training.

    Args:
        accelerator: `cpu`, `gpu` or `auto`, as Lightning's.
        precision: `32-true`, `bf16-mixed` or `16-mixed`, as Lightning's; of training and evaluation.
        threads: CPU threads of one run.
        data_workers: processes that prepare samples of a data set, each with a copy of it (of clips, up to 512 MB);
            0 prepares them in the training process.
        correlation: `all_pairs` holds the correlation volume; `on_demand` does not: less memory, more time.
        channels_last: whether convolutions run in the channels-last memory format: of use in bf16, and on a GPU.
        scenes_on_device: whether procedural scenes are rendered a batch at a time where the model is, in place of one
            by one by the data workers: of use on a GPU.
        devices: processes that train together, each with a device of its own (a GPU, or CPU threads) and an equal share
            of every batch: the result is that of one, to rounding.
        checkpoint_minutes: at most about so many minutes of a training are lost when it is killed.
    """

    accelerator: Literal["cpu", "gpu", "auto"]
    precision: Annotated[str, OneOf(PRECISIONS)]
    threads: Threads
    data_workers: Workers
    correlation: CorrelationKind
    channels_last: bool
    scenes_on_device: bool
    checkpoint_minutes: NotNegative = 5.0
    devices: Count = 1

    def lay_out(self, model: nn.Module) -> None:
        """Give a model's convolutions the memory format of `channels_last`, in place."""
        if self.channels_last:
            model.to(memory_format=torch.channels_last)

    def device(self) -> torch.device:
        """Return where a model is evaluated."""
        if self.accelerator == "gpu" and not torch.cuda.is_available():
            raise InputError("trainer.accelerator is 'gpu', but PyTorch finds none; use trainer=cpu")
        return torch.device("cuda" if self.accelerator != "cpu" and torch.cuda.is_available() else "cpu")

    def require_devices(self) -> None:
        """Raise InputError where this machine has fewer devices than are to train together."""
        if self.device().type == "cuda" and self.devices > torch.cuda.device_count():
            raise InputError(
                f"trainer.devices is {self.devices}, but PyTorch finds {torch.cuda.device_count()} GPU; set it to that"
            )

    def require_shares(self, batch_size: int, name: str) -> None:
        """Raise InputError where the devices cannot share a batch equally, whose size has this name."""
        if batch_size % self.devices:
            raise InputError(
                f"{name} is {batch_size}, which trainer.devices={self.devices} cannot share equally; change one of them"
            )


@section("recipe")
class Recipe:
    """A training recipe, in steps.

    Args:
        steps: optimiser steps; 0 leaves the model untrained, as a control.
        batch_size: samples in a step.
        learning_rate: the peak of a one-cycle schedule, linear up and down, as RAFT's.
        warmup: fraction of the schedule before the peak (at least one step), above 0 and below 1; RAFT's is 0.05.
        cooldown: steps by which the schedule outlasts the training, at least 1: the last step must not have a rate of
            zero; RAFT's is 100.
        weight_decay: of AdamW.
        gradient_clip: largest norm of the gradient.
        validate_every: steps between validations; divides `steps`.
    """

    steps: Natural
    batch_size: Count
    learning_rate: Positive
    warmup: Within01
    cooldown: Count
    weight_decay: NotNegative
    gradient_clip: Positive
    validate_every: Count

    def __post_init__(self):
        if self.steps % self.validate_every:
            raise Unfit(
                f"validate_every is {self.validate_every}, which does not divide steps {self.steps}: the last step "
                "would not be validated"
            )


@section("pretraining")
class SourceRecipe(Recipe):
    """A recipe of a source task on clips; of a registered one, unless it has its own.

    Args:
        iterations: recurrent iterations of the model.
        validation_clips: at most so many clips, evenly spread over the validation part.
        seed: decides the initial weights, the order of clips and their augmentation.
    """

    steps: Natural = 90
    batch_size: Count = 8
    learning_rate: Positive = 1.7e-3
    warmup: Within01 = 0.05
    cooldown: Count = 1
    weight_decay: NotNegative = 7e-3
    gradient_clip: Positive = 1.0
    validate_every: Count = 30
    iterations: Count = 4
    validation_clips: Count = 48
    seed: Seed = 1


@section("recipe")
class RaftRecipe(Recipe):
    """A recipe of training RAFT, whose loss counts the flow after every iteration.

    Args:
        iterations: recurrent iterations in training.
        validation_iterations: recurrent iterations in validation.
        gamma: weight of an iteration relative to the next one in the loss.
    """

    iterations: Count
    validation_iterations: Count
    gamma: UpTo1


class Task(pl.LightningModule):
    """What the modules of all tasks share: the log, the optimiser and the transfer.

    A task adds `loss(batch)`, `validation_step`, and the metrics by name that this updates, `validation_metrics`. What
    it has of its own beside the model, such as a head, is trained too.

    A loss, a metric or a weight that is not finite ends the training with an error; of metrics a mean over nothing is
    excepted (`uncounted`). So does a training from nothing, where a task can tell: what it sets `counted` to.

    Args:
        model: trained in place.
        recipe: how.
        transfer: what was loaded into the model and is held frozen; None where nothing is.
        metrics: names of what a validation logs.

    Attributes:
        counted: of each sample of the last batch, how many pixels it has and how many of them count in the loss; None
            where all do, as ever.
        what_counts: which pixels count, and what to do where none does, in words.
        uncounted: metrics of the last validation that may be no number, as nothing counted in them.

    >>> import torch
    >>> class Reconstruction(rwtl.Task):
    ...     def loss(self, batch):
    ...         return (self.model(batch) - batch).square().mean()
    >>> Reconstruction(torch.nn.Identity(), None, None, ["error"]).loss(torch.ones(2)).item()
    0.0
    """

    counted: Int[Tensor, "b 2"] | None = None
    what_counts: str = ""
    uncounted: Collection[str] = ()

    def __init__(self, model: nn.Module, recipe: Recipe, transfer: Transfer | None, metrics: Iterable[str]):
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.transfer = transfer
        self.metrics = list(metrics)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = self.loss(batch)
        self.log("loss", loss, logger=False, sync_dist=True)
        return loss

    def on_validation_start(self) -> None:
        for metric in self.modules():
            if isinstance(metric, BaseAggregator) and metric.nan_strategy == "warn":
                metric.nan_strategy = math.nan  # torchmetrics would leave out what is no number, and flatter the rest

    def on_validation_epoch_end(self) -> None:
        metrics = self.validation_metrics
        means = [name for name, metric in metrics.items() if isinstance(metric, MeanMetric)]
        self.uncounted = [name for name in means if metrics[name].weight == 0]
        for name, metric in metrics.items():
            self.log(name, metric.compute(), logger=False)
            metric.reset()

    def configure_callbacks(self) -> list[pl.Callback]:
        return [self.transfer] if self.transfer else []  # in place of one that the trainer may have been given

    def configure_optimizers(self) -> dict:
        return adamw_one_cycle(self, self.recipe, self.transfer)


def adamw_one_cycle(model: nn.Module, recipe: Recipe, transfer: Transfer | None = None) -> dict:
    """Return AdamW over all parameters and its schedule, in the form that Lightning expects.

    Args:
        model: what is trained, or a task with it; a parameter that is frozen has no gradient, and AdamW passes it over,
            decay included, until it is unfrozen.
        recipe: learning rate, its schedule, and weight decay.
        transfer: of which `loaded_learning_rate` multiplies the learning rate of what was loaded.
    """
    factor, loaded = 1.0, set()
    if transfer is not None:
        require_unfreezing_within(transfer, recipe.steps)
        factor, loaded = transfer.config.loaded_learning_rate, set(transfer.report.loaded)
    groups: dict[float, list[nn.Parameter]] = {}  # parameters by their peak rate
    for name, parameter in model.named_parameters():
        own = factor if name.removeprefix("model.") in loaded else 1
        groups.setdefault(recipe.learning_rate * own, []).append(parameter)
    optimizer = AdamW(
        [{"params": parameters} for parameters in groups.values()],
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        eps=1e-8,
    )
    total = max(1, recipe.steps) + recipe.cooldown
    scheduler = OneCycleLR(
        optimizer,
        list(groups),
        total_steps=total,
        pct_start=max(recipe.warmup, 2 / total),  # the peak comes after one step at least
        anneal_strategy="linear",
        cycle_momentum=False,
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
