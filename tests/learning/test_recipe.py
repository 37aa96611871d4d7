"""The learning-rate schedule that both tasks share."""

import dataclasses

import pytest
import torch
from torch import nn

from rwtl.errors import InputError
from rwtl.learning.recipe import Recipe, adamw_one_cycle
from rwtl.learning.transfer.callback import Transfer
from rwtl.learning.transfer.config import Source, TransferConfig
from rwtl.models.raft import build_raft

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


def test_loaded_tensors_have_a_rate_of_their_own():
    model, rates = build_raft("small"), {}
    source = Source("the source", "small", "instance", None, build_raft("small").state_dict())
    transfer = Transfer(
        model, TransferConfig("slow", "x", ["feature_encoder"], False, False, False, None, 0, 0.1), source
    )
    made = adamw_one_cycle(model, RECIPE, transfer)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for _ in range(20):
        made["lr_scheduler"]["scheduler"].step()
    for group in made["optimizer"].param_groups:
        rates |= {names[id(parameter)]: group["lr"] for parameter in group["params"]}
    assert rates.keys() == set(names.values())
    for name, rate in rates.items():
        peak = 0.05 if name.startswith("feature_encoder.") else 0.5
        assert rate == pytest.approx(peak, rel=0.05), name


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*")
def test_weight_decay_leaves_frozen_tensors_until_they_are_unfrozen():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    before = [parameter.clone() for parameter in model.parameters()]
    optimizer = adamw_one_cycle(model, dataclasses.replace(RECIPE, weight_decay=0.5))["optimizer"]
    for moves in (False, True):
        optimizer.zero_grad()
        model(torch.ones(1, 2)).square().sum().backward()
        optimizer.step()
        after = list(model.parameters())
        assert [not torch.equal(*pair) for pair in zip(before, after, strict=True)] == [moves, moves, True, True]
        assert len(optimizer.state) == (4 if moves else 2)
        model[0].requires_grad_(True)


def test_a_training_of_no_steps_is_a_control_and_a_negative_number_an_error():
    none = dataclasses.replace(RECIPE, steps=0)
    assert adamw_one_cycle(nn.Linear(1, 1), none)["optimizer"].param_groups[0]["lr"] > 0
    with pytest.raises(InputError, match="steps is -1; it must not be negative"):
        dataclasses.replace(RECIPE, steps=-1)


def test_unfreezing_after_the_end_is_refused():
    model = build_raft("small")
    source = Source("the source", "small", "instance", None, build_raft("small").state_dict())
    config = TransferConfig("late", "x", ["feature_encoder"], False, True, False, RECIPE.steps, 0, 1.0)
    with pytest.raises(InputError, match="unfreezes until step 100, but the training has 100 steps"):
        adamw_one_cycle(model, RECIPE, Transfer(model, config, source))
