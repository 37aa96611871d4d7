"""Random numbers that artifacts hold: their bits must stay as they are."""

import numpy as np
import pytest

from rwtl.random import Draws, counter_rng, named_rng


def test_generators_draw_what_they_always_have():
    words = counter_rng(7, 1, 2, 3).integers(2**63, size=2).tolist()
    assert words == [4376137457053175704, 2220378527407459173]
    assert counter_rng(7).integers(2**63) == 8043457917274619346
    assert counter_rng(2**40, 5).integers(2**63) == 3949892014625268927
    words = named_rng(7, "start of v").integers(2**63, size=2).tolist()
    assert words == [8712426910165146811, 7397003767816179798]


def test_scenes_draw_what_they_always_have_alone_and_among_others():
    draws = Draws((3, 1), [0, 9], 2)
    assert draws.uniform(1).ravel().tolist() == [
        0.7400963480618715,
        0.12015255579833573,
        0.1048430484167121,
        0.14384017300616736,
    ]
    assert draws.normal(1)[0, 1].tolist() == [-0.10604085472639797, 1.9020707739783937]
    assert draws.uniform(1)[0, 0, 0] == 0.8483457319721872
    field = draws.field(2)
    assert field.ravel().tolist() == pytest.approx([-1.7565678358, -0.1345220655, 0.3487913012, -0.2610451281])
    alone = Draws((3, 1), [9], 2)
    np.testing.assert_array_equal(alone.uniform(1)[:, 0], [[0.1048430484167121, 0.14384017300616736]])
    np.testing.assert_array_equal(alone.field(2)[0], field[1])
