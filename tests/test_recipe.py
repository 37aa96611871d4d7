"""The learning-rate schedule that both tasks share."""

import dataclasses

import pytest
from torch import nn

from rwtl.errors import InputError
from rwtl.training.recipe import Recipe, adamw_one_cycle

RECIPE = Recipe(
    steps=100,
    batch_size=1,
    learning_rate=0.5,
    warmup=0.2,
    cooldown=1,
    weight_decay=0.0,
    gradient_clip=1.0,
    validate_every=100,
)


@pytest.mark.filterwarnings("ignore:.*optimizer.step.*")
@pytest.mark.parametrize(("warmup", "peak"), [(0.2, 20), (0.05, 5), (0.001, 1)])
def test_rate_peaks_after_the_warmup_and_no_step_is_without_effect(warmup, peak):
    made = adamw_one_cycle(nn.Linear(1, 1), dataclasses.replace(RECIPE, warmup=warmup))
    rates = []
    for _ in range(RECIPE.steps):
        rates.append(made["optimizer"].param_groups[0]["lr"])
        made["lr_scheduler"]["scheduler"].step()
    assert abs(rates.index(max(rates)) - peak) <= 1
    assert max(rates) == pytest.approx(0.5, rel=0.05)
    assert min(rates) > 0


@pytest.mark.parametrize("warmup", [0.0, 1.0, -0.1])
def test_warmup_that_is_no_fraction_is_refused(warmup):
    with pytest.raises(InputError, match=f"warmup is {warmup}; it must be above 0 and below 1"):
        dataclasses.replace(RECIPE, warmup=warmup)
