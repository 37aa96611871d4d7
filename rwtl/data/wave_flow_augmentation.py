"""Zoom, crop, rotation and mirroring of a sample of sparse flow, as of clips: the vectors change with the picture."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from rwtl.data.clip_augmentation import enlarge
from rwtl.data.clips_config import window_of, zoom_fraction
from rwtl.data.flow_sample import FlowSample
from rwtl.data.geometric import Window, cut, mirror, resize_sparse
from rwtl.errors import InputError

# As in rwtl.data.stream.Part.
FlowAugmentation = Callable[[FlowSample, np.random.Generator], FlowSample]


def zoomed(sample: FlowSample, zoom: float) -> FlowSample:
    """Enlarge (or reduce) a sample by exactly `zoom`, and its displacements with it.

    Frames are resampled as those of clips. A valid pixel of the flow moves to where it comes to lie, and makes no other
    one valid: enlarged flow is sparser. Rows at the bottom and columns at the right that would not be whole are cut.
    """
    fraction = zoom_fraction(zoom)
    if fraction == 1:
        return sample
    step = fraction.denominator
    height, width = (side // step * step for side in sample.valid.shape)
    sample = cut(sample, Window(0, 0, height, width))
    size = (int(height * fraction), int(width * fraction))
    resized = resize_sparse(sample, size, Window(0, 0, *size))
    return resized._replace(image1=_frame(sample.image1, zoom), image2=_frame(sample.image2, zoom))


def _frame(image: Float32[Tensor, "3 h w"], zoom: float) -> Float32[Tensor, "3 h2 w2"]:
    return enlarge(image[:, None], zoom_fraction(zoom))[:, 0]


@dataclass(frozen=True)
class CropAndZoomFlow:
    """Cuts a square at a place drawn from the generator and enlarges it, as CropAndZoom does with clips.

    Args:
        crop: side of the result in px.
        zoom: see `zoomed`; crop / zoom, the side of the square, is whole.

    Raises:
        InputError: crop / zoom is no whole number; when called, the square does not fit into the sample.
    """

    crop: int
    zoom: float = 1.0

    def __post_init__(self):
        window_of(self.crop, self.zoom)

    def __call__(self, sample: FlowSample, rng: np.random.Generator) -> FlowSample:
        side, (rows, columns) = window_of(self.crop, self.zoom), sample.valid.shape
        if side > min(rows, columns):
            raise InputError(
                f"clips.crop is {self.crop} px at zoom {self.zoom:g}, a window of {side} cells, but the recording has "
                f"{rows}×{columns}; lower it"
            )
        window = Window(int(rng.integers(rows - side + 1)), int(rng.integers(columns - side + 1)), side, side)
        return zoomed(cut(sample, window), self.zoom)


def turned(sample: FlowSample, turns: int) -> FlowSample:
    """Return the sample after so many quarter turns, each of which brings what was at the right to the top."""
    image1, image2, flow, valid = (torch.rot90(tensor, turns, dims=(-2, -1)).contiguous() for tensor in sample)
    for _ in range(turns % 4):
        flow = torch.stack([flow[1], -flow[0]])  # down becomes right, right becomes up
    return FlowSample(image1, image2, flow, valid)


def rotate_and_flip_flow(sample: FlowSample, rng: np.random.Generator) -> FlowSample:
    """Apply one of the eight symmetries of the square, drawn from `rng`, to frames, flow and valid alike."""
    sample = turned(sample, int(rng.integers(4)))
    return mirror(sample, axis=-1) if rng.integers(2) else sample
