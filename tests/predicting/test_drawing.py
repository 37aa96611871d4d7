"""Pictures of a flow that is known."""

import numpy as np

from rwtl.flow.colour_wheel import flow_to_colour
from rwtl.flow.scenes.dataset import ProceduralFlow
from rwtl.predicting.drawing import errors_in_colour, in_colour, occluded, warped_back, with_arrows

SCENES = ProceduralFlow(size=4, height=120, width=160, mean_displacement=5, shapes=3)


def arrays(index):
    return [part.numpy() for part in SCENES[index]]


def test_the_legend_is_in_the_corner_and_the_rest_is_the_flow():
    flow = arrays(0)[2]
    picture, plain = in_colour(flow, 8.0), flow_to_colour(flow, 8.0)
    assert (picture[40:] == plain[40:]).all() and (picture[:19, :19] != plain[:19, :19]).any()
    small = flow[:, :40, :40]
    np.testing.assert_array_equal(in_colour(small, 8.0), flow_to_colour(small, 8.0))


def test_unknown_flow_does_not_set_the_scale():
    flow = arrays(0)[2].copy()
    flow[:, :60] = 1e10
    assert (in_colour(flow)[70:] == flow_to_colour(flow, float(np.quantile(np.hypot(*flow[:, 60:]), 0.99)))[70:]).all()
    assert (in_colour(np.full((2, 80, 80), np.inf, np.float32))[60:] == 0).all()


def test_warped_back_the_second_frame_is_the_first_but_where_that_is_hidden():
    for index in range(4):
        image1, image2, flow, _ = arrays(index)
        seen = ~SCENES.occlusion(index).numpy()
        back = warped_back(image2, flow).transpose(2, 0, 1).astype(float)
        still = np.abs(image2 - image1).mean(axis=0)[seen].mean()
        assert np.abs(back - image1).mean(axis=0)[seen].mean() < 0.4 * still


def test_what_is_hidden_is_found_by_the_flow_there_and_back():
    """The flow back is that of a scene that moves as a whole, from which a part that moves otherwise is taken."""
    forward = np.zeros((2, 60, 80), np.float32)
    forward[0] = 10
    backward = -forward
    assert not occluded(forward, backward)[:, :69].any() and occluded(forward, backward)[:, 71:].all()
    backward[:, 20:40, 40:60] = 3
    found = occluded(forward, backward)
    assert found[22:38, 32:48].all() and not found[45:, :69].any()


def test_arrows_begin_where_their_pixels_are():
    image = np.full((3, 64, 64), 255, np.float32)
    flow = np.zeros((2, 64, 64), np.float32)
    flow[:, 32:] = 5
    picture = with_arrows(image, flow)
    assert picture.shape == (64, 64, 3) and (picture[36:] < 200).any() and picture[:24:8].min() > 150


def test_errors_that_are_not_finite_or_not_known_have_their_own_colours():
    error = np.tile(np.linspace(0, 10, 100, dtype=np.float32), (10, 1))
    error[3, 7] = np.nan
    known = np.ones_like(error, bool)
    known[:, :5] = False
    picture, most = errors_in_colour(error, known)
    assert 9.5 < most < 10 and tuple(picture[3, 7]) == (0, 255, 0) and (picture[:, :5] == 0).all()
    assert int(picture[0, -1].sum()) > int(picture[0, 20].sum())
    assert errors_in_colour(error, np.zeros_like(known))[1] == 1.0
