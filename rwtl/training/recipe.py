"""How a model is trained: what both source and target task share."""

from dataclasses import dataclass

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from rwtl.errors import InputError
from rwtl.training.transfer import Transfer, require_unfreezing_within


@dataclass
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

    steps: int
    batch_size: int
    learning_rate: float
    warmup: float
    cooldown: int
    weight_decay: float
    gradient_clip: float
    validate_every: int

    def __post_init__(self):
        if self.steps < 0:
            raise InputError(f"steps is {self.steps}; it must not be negative")
        for key in ("batch_size", "learning_rate", "cooldown", "gradient_clip", "validate_every"):
            if getattr(self, key) <= 0:
                raise InputError(f"{key} is {getattr(self, key)}; it must be positive")
        if not 0 < self.warmup < 1:
            raise InputError(f"warmup is {self.warmup}; it must be above 0 and below 1")
        if self.weight_decay < 0:
            raise InputError(f"weight_decay is {self.weight_decay}; it must not be negative")
        if self.steps % self.validate_every:
            raise InputError(
                f"validate_every is {self.validate_every}, which does not divide steps {self.steps}: the last step "
                "would not be validated"
            )


def adamw_one_cycle(model: nn.Module, recipe: Recipe, transfer: Transfer | None = None) -> dict:
    """Return AdamW over all parameters and its schedule, in the form that Lightning expects.

    Args:
        model: what is trained; a parameter that is frozen has no gradient, and AdamW passes it over, decay included,
            until it is unfrozen.
        recipe: learning rate, its schedule, and weight decay.
        transfer: of which `loaded_learning_rate` multiplies the learning rate of what was loaded.
    """
    factor, loaded = 1.0, set()
    if transfer is not None:
        require_unfreezing_within(transfer, recipe.steps)
        factor, loaded = transfer.config.loaded_learning_rate, set(transfer.report.loaded)
    groups: dict[float, list[nn.Parameter]] = {}  # parameters by their peak rate
    for name, parameter in model.named_parameters():
        groups.setdefault(recipe.learning_rate * (factor if name in loaded else 1), []).append(parameter)
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
