from dataclasses import MISSING, fields, replace
from functools import cache
from importlib import import_module
from math import inf, nan
from pathlib import Path
from pkgutil import walk_packages
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from pydantic.dataclasses import is_pydantic_dataclass
from trainings import COMMON, FLOW, WHERE

import rwtl
from rwtl.errors import InputError
from rwtl.learning.recipe import Recipe
from rwtl.sections import Count, OneOf, Range, Real, Seed, checked, section, typed
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


@cache
def sections():
    """Every section of rwtl."""
    found = []
    for module in walk_packages(rwtl.__path__, "rwtl."):
        for cls in vars(import_module(module.name)).values():
            if isinstance(cls, type) and is_pydantic_dataclass(cls) and cls.__module__ == module.name:
                found.append(cls)
    return found


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


def some(hint):
    """A value of a type, as a configuration may have it."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        rules = [rule for rule in hint.__metadata__ if isinstance(rule, Range | OneOf)]
        return _allowed(rules[0]) if rules else some(parts[0])
    if origin in (Union, UnionType):
        return None if NoneType in parts else some(parts[0])
    if origin is Literal:
        return parts[0]
    if origin is list:
        return [some(parts[0])]
    if origin is dict:
        return {}
    if is_pydantic_dataclass(hint):
        return hint()
    return {bool: False, str: "x", Path: "x"}[hint]


def _allowed(rule):
    if isinstance(rule, OneOf):
        return next(iter(rule.choices))
    return next(value for value in (1, 0.5, 0, 16, rule.least, rule.most) if not rule.refuses(value))


def with_a_number(hint, bad):
    """Values of a type that hold a bad one where a number belongs, each with the rest of its dotted key."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        ruled = any(isinstance(rule, Range) for rule in hint.__metadata__)
        yield from [("", bad)] if ruled else with_a_number(parts[0], bad)
    elif origin in (Union, UnionType):
        for part in parts:
            yield from with_a_number(part, bad)
    elif origin is Literal and isinstance(parts[0], int):
        yield "", bad
    elif origin is list:
        yield from ((f"[0]{key}", [value]) for key, value in with_a_number(parts[0], bad))
    elif origin is dict:
        yield from ((f".some{key}", {"some": value}) for key, value in with_a_number(parts[1], bad))


@pytest.mark.parametrize("bad", [nan, inf, -inf, "nan", "many", True, [0.5], {"a": 1}], ids=str)
def test_no_section_takes_for_a_number_what_is_none(bad):
    """Every number of every section, wherever it stands: in a list, in a section of keys, among other choices."""
    tried = 0
    for cls in sections():
        hints = get_type_hints(cls, include_extras=True)
        own = {field.name: hints[field.name] for field in fields(cls) if field.init}
        required = [each.name for each in fields(cls) if each.default is each.default_factory is MISSING]
        valid = {key: some(hint) for key, hint in own.items() if key in required}
        for key, hint in own.items():
            for rest, value in with_a_number(hint, bad):
                with pytest.raises(InputError) as caught:
                    typed(cls, valid | {key: value}, "some.section")
                message = str(caught.value)
                assert message.startswith(f"some.section.{key}{rest} is {bad!r}; "), message
                assert "\n" not in message and ("it must be" in message or "choose one of" in message), message
                tried += 1
    assert tried >= 150


def test_what_no_type_describes_is_finite_too():
    class PlugIn:
        def __init__(self, root, scale: float = 1.0, options=None):
            raise AssertionError("it was made of what is not finite")

    for values, key in (
        ({"root": inf}, "root"),
        ({"scale": nan}, "scale"),
        ({"options": [{"a": -inf}]}, r"options\[0\]\.a"),
    ):
        with pytest.raises(InputError, match=rf"^datasets\.mine\.{key} is -?(nan|inf); it must be finite$"):
            typed(PlugIn, {"root": "here"} | values, "datasets.mine")
    with pytest.raises(InputError, match=r"^datasets\.mine\.scale is 'nan'; it must be finite$"):
        typed(PlugIn, {"root": "here", "scale": "nan"}, "datasets.mine")
    with pytest.raises(InputError, match=r"^seed is nan; it must be finite$"):
        checked(Seed, nan, "seed")


def test_a_section_that_is_made_by_hand_is_checked_too():
    with pytest.raises(InputError, match=r"^trainer\.threads is 0; it must lie in 1 to 1024$"):
        replace(WHERE, threads=0)
    with pytest.raises(InputError, match=r"^training\.warmup is nan; it must be finite$"):
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
