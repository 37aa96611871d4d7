"""Frames given to a model in tiles, or scaled."""

import pytest
import torch

from rwtl.errors import InputError
from rwtl.models.tiling import in_tiles, scaled


def pointwise(image1, image2):
    """A flow that depends on each pixel alone: tiles, however they lie, must give it again."""
    return torch.stack((image2[:, 0] - image1[:, 0], image1[:, 1] / 3), dim=1)


@pytest.mark.parametrize("size", [(30, 50), (64, 64), (20, 33), (8, 200)])
@pytest.mark.parametrize(("tile", "overlap"), [((16, 16), 0), ((16, 24), 7), ((64, 64), 7), ((9, 8), 1)])
def test_what_depends_on_pixels_alone_is_the_same_in_tiles(size, tile, overlap):
    image1, image2 = 255 * torch.rand(2, 2, 3, *size)
    shapes = []

    def estimate(*images):
        shapes.append(images[0].shape[-2:])
        return pointwise(*images)

    flow = in_tiles(estimate, image1, image2, tile, overlap)
    torch.testing.assert_close(flow, pointwise(image1, image2), rtol=1e-5, atol=1e-3)
    assert set(shapes) == {(min(tile[0], size[0]), min(tile[1], size[1]))}, "all tiles have one size"


def test_where_tiles_meet_there_is_no_step():
    numbers = iter(range(100))

    def estimate(image1, image2):
        return torch.full((1, 2, *image1.shape[-2:]), float(next(numbers)))

    frame = torch.zeros(1, 3, 16, 90)
    flow = in_tiles(estimate, frame, frame, (16, 40), 20)
    assert flow.diff(dim=-1).abs().max() < 0.2
    torch.testing.assert_close(flow[0, 0, 0, [0, -1]], torch.tensor([0.0, 3.0]))


def test_an_overlap_that_is_no_smaller_than_a_tile_is_refused():
    frame = torch.zeros(1, 3, 16, 90)
    with pytest.raises(InputError, match="overlap is 40 px; it must be smaller than the tile, 16×40 px"):
        in_tiles(pointwise, frame, frame, (32, 40), 40)


@pytest.mark.parametrize("scale", [0.5, 0.37, 1.5])
def test_flow_of_scaled_frames_is_in_pixels_of_the_frames(scale):
    height, width = 40, 64
    seen = []

    def estimate(image1, image2):
        seen.append(image1.shape[-2:])
        return torch.ones(1, 2, *image1.shape[-2:])

    frame = torch.zeros(1, 3, height, width)
    flow = scaled(estimate, frame, frame, scale)
    (size,) = seen
    assert size == (round(height * scale), round(width * scale)) and flow.shape[-2:] == (height, width)
    torch.testing.assert_close(flow[0, :, 3, 5], torch.tensor([width / size[1], height / size[0]]))
    with pytest.raises(InputError, match=r"scaled by 0\.1 the frames are 4×6 px"):
        scaled(estimate, frame, frame, 0.1)
