"""Random changes to a FlowSample that keep frames and flow consistent.

Each is a callable `(sample, rng) -> sample`; all randomness comes from the generator that is passed, so that a sample
is a function of whatever seeds it.
"""

import numpy as np

from rwtl.data.flow_sample import FlowSample
from rwtl.errors import InputError


class RandomCrop:
    """Cut the same random window out of both frames, the flow and its validity; all positions are equally likely.

    Args:
        height: Height of the window in px, at least 1.
        width: Width of the window in px, at least 1.

    Raises:
        InputError: A side is below 1, or, when called, the window is larger than the sample.
    """

    def __init__(self, height: int, width: int) -> None:
        if height < 1 or width < 1:
            raise InputError(f"crop of {height}x{width} px (height x width): each side must be at least 1.")
        self.height = height
        self.width = width

    def __call__(self, sample: FlowSample, rng: np.random.Generator) -> FlowSample:
        height, width = sample.valid.shape[-2:]
        if self.height > height or self.width > width:
            raise InputError(
                f"crop of {self.height}x{self.width} px is larger than the sample of {height}x{width} px "
                "(height x width); choose a smaller crop."
            )
        top = int(rng.integers(height - self.height + 1))
        left = int(rng.integers(width - self.width + 1))
        window = (..., slice(top, top + self.height), slice(left, left + self.width))
        # Contiguous: a view would keep the whole sample alive, and would be sent whole between processes.
        return FlowSample(*(tensor[window].contiguous() for tensor in sample))


class RandomFlip:
    """Mirror frames, flow and validity, and reverse the mirrored component of the flow.

    Args:
        horizontal: Probability of swapping left and right, 0..1.
        vertical: Probability of swapping top and bottom, 0..1.

    Raises:
        InputError: A probability lies outside 0..1.
    """

    def __init__(self, horizontal: float, vertical: float) -> None:
        for name, probability in (("horizontal", horizontal), ("vertical", vertical)):
            if not 0.0 <= probability <= 1.0:
                raise InputError(f"flip probability {name}={probability} must lie in 0..1.")
        self.horizontal = horizontal
        self.vertical = vertical

    def __call__(self, sample: FlowSample, rng: np.random.Generator) -> FlowSample:
        # Both are drawn whatever the probabilities, so that changing one does not change the other's outcome.
        draw_horizontal, draw_vertical = rng.random(2)
        if draw_horizontal < self.horizontal:
            sample = _mirror(sample, axis=-1, component=0)
        if draw_vertical < self.vertical:
            sample = _mirror(sample, axis=-2, component=1)
        return sample


def _mirror(sample: FlowSample, axis: int, component: int) -> FlowSample:
    mirrored = FlowSample(*(tensor.flip(axis) for tensor in sample))
    mirrored.flow[..., component, :, :].neg_()  # flip has copied: the sample itself stays as it was
    return mirrored
