from dataclasses import dataclass

import pytest

from rwtl.config import typed
from rwtl.errors import InputError


@dataclass
class Section:
    steps: int
    rate: float = 0.5
    rates: list[float] | None = None


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
