"""How a model is trained: what both source and target task share."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from rwtl.errors import InputError


@dataclass
class Recipe:
    """A training recipe, in steps.

    Args:
        steps: optimiser steps.
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
        for key in ("steps", "batch_size", "learning_rate", "cooldown", "gradient_clip", "validate_every"):
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


def adamw_one_cycle(parameters: Iterable[nn.Parameter], recipe: Recipe) -> dict:
    """Return AdamW over the parameters that are not frozen and its schedule, in the form that Lightning expects."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    optimizer = AdamW(trainable, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, eps=1e-8)
    total = recipe.steps + recipe.cooldown
    scheduler = OneCycleLR(
        optimizer,
        recipe.learning_rate,
        total_steps=total,
        pct_start=max(recipe.warmup, 2 / total),  # the peak comes after one step at least
        anneal_strategy="linear",
        cycle_momentum=False,
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
