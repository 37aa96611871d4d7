from dataclasses import replace
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import pytest
from pydantic.dataclasses import is_pydantic_dataclass
from trainings import COMMON, FLOW, WHERE

import rwtl
from rwtl.errors import InputError
from rwtl.learning.recipe import Recipe
from rwtl.sections import Count, OneOf, Range, Real, section, typed
from rwtl.waves.config import RecordingConfig

RECORDING = {"rows": 8, "columns": 8, "spacing": 50, "duration": 60, "transient": 10, "time_step": 2e-4}
RECORDING |= {"frame_interval": 0.1, "seed": 1, "cell": {}}


@section("training")
class Section:
    steps: Count
    rate: Real = 0.5
    rates: list[Real] | None = None


def test_values_become_typed():
    assert typed(Section, {"steps": 3, "rate": 1}, "training") == Section(3, 1.0)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"steps": 3, "stepz": 4}, "training.stepz.*its keys are steps, rate, rates"),
        ({"rate": 1.0}, "training.steps"),
        ({"steps": "many"}, "training.steps.*many"),
        ({"steps": True}, "training.steps is True; it must be a number"),
        ({"steps": 3, "rate": False}, "training.rate is False; it must be a number"),
        ({"steps": 3, "rates": [0.5, True]}, r"training.rates\[1\] is True; it must be a number"),
        ({"step": 3}, "training.step: training has no such key"),
    ],
)
def test_wrong_keys_and_values_are_named(values, named):
    with pytest.raises(InputError, match=named):
        typed(Section, values, "training")


def test_a_key_that_is_gone_is_passed_over_where_it_was_off_and_named_where_it_was_on():
    assert typed(Section, {"steps": 3, "compile": False}, "trainer") == Section(3)
    with pytest.raises(InputError, match=r"trainer\.compile is True, but it is gone: .*leave it out"):
        typed(Section, {"steps": 3, "compile": True}, "trainer")


def sections():
    """Every section of rwtl, with the name of its module."""
    for module in walk_packages(rwtl.__path__, "rwtl."):
        for cls in vars(import_module(module.name)).values():
            if isinstance(cls, type) and is_pydantic_dataclass(cls) and cls.__module__ == module.name:
                yield cls


def numbers_without_a_rule(hint, ruled=False):
    if get_origin(hint) is Annotated:
        yield from numbers_without_a_rule(hint.__origin__, any(isinstance(rule, Range) for rule in hint.__metadata__))
    elif hint in (int, float):
        yield from [] if ruled else [hint]
    elif get_origin(hint) is not Literal:
        for part in get_args(hint):
            yield from numbers_without_a_rule(part)


def test_every_number_of_every_section_says_its_range():
    """Whatever does not would take NaN, and true for 1."""
    checked = {cls: get_type_hints(cls, include_extras=True) for cls in sections()}
    assert len(checked) >= 30
    for cls, keys in checked.items():
        assert not [key for key, hint in keys.items() if [*numbers_without_a_rule(hint)]], cls


def test_a_section_that_is_made_by_hand_is_checked_too():
    with pytest.raises(InputError, match=r"^trainer\.threads is 0; it must lie in 1 to 1024$"):
        replace(WHERE, threads=0)
    with pytest.raises(InputError, match=r"^training\.warmup is nan; it must be above 0 and below 1$"):
        replace(FLOW, warmup=float("nan"))
    with pytest.raises(InputError, match=r"^training\.steps is inf; it must be finite$"):
        Section(float("inf"))


def test_keys_of_sections_within_have_their_dots():
    two = r"give two numbers from 0 to 1, the lower first$"
    with pytest.raises(InputError, match=rf"^recording\.start\.r is \[0\.9, 0\.1\]; {two}"):
        typed(RecordingConfig, RECORDING | {"start": {"r": [0.9, 0.1]}}, "recording")
    with pytest.raises(InputError, match=r"^clips\.recordings\[1\]\.cell\.g_A is -1; it must not be negative$"):
        typed(RecordingConfig, RECORDING | {"cell": {"g_A": -1}}, "clips.recordings[1]")


def test_a_rule_between_keys_is_said_by_the_name_of_the_section():
    with pytest.raises(InputError, match=r"^recording\.transient is 70\.0 s; it must be shorter than duration, 60"):
        typed(RecordingConfig, RECORDING | {"transient": 70}, "recording")
    with pytest.raises(InputError, match=r"^schedule\.validate_every is 7, which does not divide steps 6"):
        typed(Recipe, {key: COMMON[key] for key in COMMON if key != "iterations"} | {"validate_every": 7}, "schedule")


def test_a_choice_may_be_registered_later():
    choices = ["small"]

    @section("model")
    class Model:
        variant: Annotated[str, OneOf(choices)]

    with pytest.raises(InputError, match=r"^model\.variant is 'wide'; choose one of small$"):
        Model("wide")
    choices.append("wide")
    assert Model("wide").variant == "wide"


def test_a_class_that_is_no_section_is_checked_by_the_types_of_its_arguments():
    class Numbered:
        def __init__(self, root: Path, count: int = 3):
            self.root, self.count = root, count

    assert typed(Numbered, {"root": "here"}, "datasets.mine").root == Path("here")
    with pytest.raises(InputError, match=r"^datasets\.mine\.count is 'many'; it must be a whole number$"):
        typed(Numbered, {"root": "here", "count": "many"}, "datasets.mine")
    with pytest.raises(InputError, match=r"^datasets\.mine\.size: .*; its keys are root, count$"):
        typed(Numbered, {"root": "here", "size": 3}, "datasets.mine")
    with pytest.raises(InputError, match=r"^datasets\.mine\.root is not set; give it a value$"):
        typed(Numbered, {}, "datasets.mine")


@pytest.mark.parametrize(
    ("key", "value"), [("data_workers", 5000), ("data_workers", -1), ("threads", 10**6), ("threads", 0)]
)
def test_counts_of_processes_and_threads_have_limits(key, value):
    with pytest.raises(InputError, match=rf"^trainer\.{key} is {value}; it must lie in \d to \d+$"):
        replace(WHERE, **{key: value})
