from dataclasses import dataclass

import pytest

from rwtl.config import typed
from rwtl.errors import InputError


@dataclass
class Section:
    steps: int
    rate: float = 0.5


def test_values_become_typed():
    assert typed(Section, {"steps": 3, "rate": 1}, "training") == Section(3, 1.0)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"steps": 3, "stepz": 4}, "training.stepz.*keys of training are steps, rate"),
        ({"rate": 1.0}, "training.steps"),
        ({"steps": "many"}, "training.steps.*many"),
    ],
)
def test_wrong_keys_and_values_are_named(values, named):
    with pytest.raises(InputError, match=named):
        typed(Section, values, "training")
