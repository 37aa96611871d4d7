import numpy as np
import pytest

from rwtl.errors import InputError
from rwtl.flow.colour_wheel import colour_wheel, flow_to_colour


def _one(u: float, v: float, max_magnitude: float | None = 1.0) -> list[int]:
    return flow_to_colour(np.array([[[u]], [[v]]], np.float32), max_magnitude)[0, 0].tolist()


def test_directions_have_the_hues_of_the_middlebury_wheel():
    # Worked by hand from the published wheel: positions 0, 13.5, 27 and 40.5 of 15 red-yellow, 6 yellow-green,
    # 4 green-cyan, 11 cyan-blue, 13 blue-magenta and 6 magenta-red steps.
    assert _one(1, 0) == [255, 0, 0]
    assert _one(0, 1) == [255, (221 + 238) // 2, 0]
    assert _one(-1, 0) == [0, 255 - 46, 255]
    assert _one(0, -1) == [(78 + 98) // 2, 0, 255]


def test_length_is_saturation():
    assert _one(0, 0) == [255, 255, 255]
    assert _one(0.5, 0) == [255, 127, 127]
    assert _one(2, 0) == [191, 0, 0]  # too long: 0.75 of full colour
    assert _one(3, 0, None) == [255, 0, 0]  # its own longest


def test_own_scale_is_the_longest_known_displacement():
    flow = np.zeros((2, 2, 3), np.float32)
    flow[0] = [[4, 2, 0], [1e10, np.nan, np.inf]]
    colour = flow_to_colour(flow)
    np.testing.assert_array_equal(colour, flow_to_colour(np.where(np.abs(flow) < 5, flow, 1e10), 4.0))
    assert colour[0].tolist() == [[255, 0, 0], [255, 127, 127], [255, 255, 255]]
    assert (colour[1] == 0).all()


def test_still_and_wholly_unknown_fields():
    assert (flow_to_colour(np.zeros((2, 4, 5), np.float32)) == 255).all()
    assert (flow_to_colour(np.full((2, 4, 5), np.nan, np.float32)) == 0).all()


def test_wheel_shows_each_direction_where_it_points():
    wheel = colour_wheel(101)
    assert wheel.shape == (101, 101, 3)
    assert wheel[50, 100].tolist() == _one(1, 0)
    assert wheel[100, 50].tolist() == _one(0, 1)
    assert wheel[0, 50].tolist() == _one(0, -1)
    assert wheel[50, 50].tolist() == [255, 255, 255]
    assert wheel[0, 0].tolist() == [255, 255, 255]
    # Nowhere along the rim does the colour jump, the place where the angle's branch is cut included.
    angles = np.linspace(0, 2 * np.pi, 721)
    rim = flow_to_colour(np.stack([np.cos(angles), np.sin(angles)])[:, None].astype(np.float32) * 0.999, 1.0)
    assert np.abs(np.diff(rim[0].astype(int), axis=0)).max() <= 11


def test_senseless_scales_are_refused():
    flow = np.zeros((2, 1, 1), np.float32)
    for scale in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="max_magnitude"):
            flow_to_colour(flow, scale)
    with pytest.raises(InputError, match="diameter=1"):
        colour_wheel(1)
