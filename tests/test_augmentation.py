import numpy as np
import pytest
import torch

from rwtl.data.augmentation import RandomCrop, RandomFlip
from rwtl.data.flow_sample import FlowSample
from rwtl.data.procedural_flow import ProceduralFlow
from rwtl.errors import InputError


def _rotation_sample(height: int = 9, width: int = 13) -> FlowSample:
    """Frames whose first two channels are the pixel's own place; the flow is that of a rotation about the centre."""
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    image = torch.stack([x, y, x + y])
    flow = torch.stack([-(y - (height - 1) / 2), x - (width - 1) / 2])
    return FlowSample(image, image + 100, flow, ((x + y) % 2 == 0).float())


def test_crop_cuts_the_same_window_everywhere():
    sample = _rotation_sample()
    corners = set()
    for seed in range(500):
        cut = RandomCrop(4, 5)(sample, np.random.default_rng(seed))
        left, top = int(cut.image1[0, 0, 0]), int(cut.image1[1, 0, 0])
        corners.add((top, left))
        for whole, part in zip(sample, cut, strict=True):
            assert torch.equal(part, whole[..., top : top + 4, left : left + 5])
    assert corners == {(top, left) for top in range(6) for left in range(9)}


def test_crop_of_the_full_size_is_the_sample_and_larger_is_refused():
    sample = _rotation_sample()
    for whole, part in zip(sample, RandomCrop(9, 13)(sample, np.random.default_rng(0)), strict=True):
        assert torch.equal(whole, part)
    for height, width in ((10, 13), (9, 14)):
        with pytest.raises(InputError, match=rf"{height}x{width} px is larger than the sample of 9x13"):
            RandomCrop(height, width)(sample, np.random.default_rng(0))
    with pytest.raises(InputError, match="0x5"):
        RandomCrop(0, 5)


@pytest.mark.parametrize(("horizontal", "vertical", "sign"), [(1, 0, -1), (0, 1, -1), (1, 1, 1), (0, 0, 1)])
def test_flip_of_a_rotation_is_the_analytic_one(horizontal, vertical, sign):
    # A mirror turns the sense of a rotation about the centre; two mirrors restore it.
    sample = _rotation_sample()
    flipped = RandomFlip(float(horizontal), float(vertical))(sample, np.random.default_rng(0))
    torch.testing.assert_close(flipped.flow, sign * sample.flow, rtol=0, atol=0)
    axes = [axis for axis, flip in ((-1, horizontal), (-2, vertical)) if flip]
    for name in ("image1", "image2", "valid"):
        assert torch.equal(getattr(flipped, name), getattr(sample, name).flip(axes))


def test_flips_leave_the_sample_itself_alone():
    sample = ProceduralFlow(1, 16, 24)[0]
    before = [tensor.clone() for tensor in sample]
    RandomFlip(1.0, 1.0)(sample, np.random.default_rng(0))
    assert all(torch.equal(*pair) for pair in zip(before, sample, strict=True))


def test_flip_probabilities():
    sample = _rotation_sample()
    flip = RandomFlip(0.5, 0.1)
    flipped = [flip(sample, np.random.default_rng(seed)).image1 for seed in range(1000)]
    assert 0.45 < np.mean([image[0, 0, 0] > 0 for image in flipped]) < 0.55
    assert 0.07 < np.mean([image[1, 0, 0] > 0 for image in flipped]) < 0.13
    for probabilities in ((-0.1, 0.0), (0.0, 1.1), (float("nan"), 0.0)):
        with pytest.raises(InputError, match="must lie in"):
            RandomFlip(*probabilities)


def test_changes_are_a_function_of_the_generator():
    sample = _rotation_sample()
    for change in (RandomCrop(4, 5), RandomFlip(0.5, 0.5)):
        first, again = (change(sample, np.random.default_rng(3)) for _ in range(2))
        assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
