"""Colours, zoom, crop, rotation and mirroring: of clips, and of pairs with the flow of fronts."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import get_args

import numpy as np
import torch
from jaxtyping import Float
from matplotlib import colormaps
from torch import Tensor
from torch.nn.functional import interpolate

from rwtl.clips.config import Colour, window_of, zoom_fraction
from rwtl.errors import InputError
from rwtl.flow.geometric import Window, cut, mirror, resize_sparse
from rwtl.flow.sample import FlowSample
from rwtl.waves.config import WAVE_COLOURS

FlowAugmentation = Callable[[FlowSample, np.random.Generator], FlowSample]  # as in rwtl.sampling.Part
_SHADES = 256


def channels_of(colour: Colour) -> int:
    """Return how many channels frames have before `to_rgb`."""
    if colour not in get_args(Colour):
        raise InputError(f"colour is {colour!r}; choose one of {', '.join(get_args(Colour))}")
    return 3 if colour == "rgb" else 1


@cache
def _blue_red() -> Float[Tensor, "256 3"]:
    return torch.tensor(colormaps[WAVE_COLOURS].resampled(_SHADES)(range(_SHADES))[:, :3], dtype=torch.float32)


def to_rgb(frames: Float[Tensor, "*n c h w"], colour: Colour) -> Float[Tensor, "*n 3 h w"]:
    """Return frames in 0..1 as RGB in 0..1; values beyond are clipped by `blue_red`, which passes no gradient.

    Raises:
        InputError: The colour is unknown, or the frames do not have its number of channels.
    """
    if frames.shape[-3] != channels_of(colour):
        raise InputError(f"frames of colour {colour} have {channels_of(colour)} channels, not {frames.shape[-3]}")
    if colour == "rgb":
        return frames
    if colour == "grey":
        return frames.expand(*frames.shape[:-3], 3, *frames.shape[-2:])
    shade = (frames.squeeze(-3) * (_SHADES - 1)).round().clamp(0, _SHADES - 1).long()  # (*n, h, w)
    return _blue_red().to(frames)[shade].movedim(-1, -3)


def enlarge(clip: Float[Tensor, "length 1 h w"], zoom: Fraction) -> Float[Tensor, "length 1 h2 w2"]:
    """Resize every frame by exactly `zoom`, bilinearly and smoothed where they shrink; h·zoom and w·zoom are whole.

    Displacements are multiplied by the zoom.
    """
    height, width = (side * zoom for side in clip.shape[-2:])
    if height.denominator != 1 or width.denominator != 1:
        raise ValueError(f"{tuple(clip.shape[-2:])} px times {zoom} is not whole")
    if zoom == 1:
        return clip
    # Not by a scale factor, of which PyTorch would round the size and not the scale.
    return interpolate(clip, size=(int(height), int(width)), mode="bilinear", align_corners=False, antialias=zoom < 1)


@dataclass(frozen=True)
class CropAndZoom:
    """Cuts a square at a place drawn from the generator, the same in every frame, and enlarges it.

    Args:
        crop: side of the result in px.
        zoom: by which frames and displacements are enlarged; crop / zoom, the side of the square, is whole.

    Raises:
        InputError: crop / zoom is no whole number; when called, the square does not fit into the frames.
    """

    crop: int
    zoom: float = 1.0

    def __post_init__(self):
        window_of(self.crop, self.zoom)

    def __call__(
        self, clip: Float[Tensor, "length 1 h w"], rng: np.random.Generator
    ) -> Float[Tensor, "length 1 crop crop"]:
        return enlarge(self._window(clip.shape[-2:], rng).of(clip), zoom_fraction(self.zoom))

    def _window(self, shape: tuple[int, int], rng: np.random.Generator) -> Window:
        side, (rows, columns) = window_of(self.crop, self.zoom), shape
        if side > min(rows, columns):
            raise InputError(
                f"clips.crop is {self.crop} px at zoom {self.zoom:g}, a window of {side} cells, but the recording has "
                f"{rows}×{columns}; lower it"
            )
        return Window(int(rng.integers(rows - side + 1)), int(rng.integers(columns - side + 1)), side, side)


def rotate_and_flip(clip: Float[Tensor, "length 1 h w"], rng: np.random.Generator) -> Float[Tensor, "length 1 h2 w2"]:
    """Apply one of the eight symmetries of the square, drawn from `rng`, to the clip as a whole."""
    clip = clip.rot90(int(rng.integers(4)), dims=(-2, -1))
    return clip.flip(-1) if rng.integers(2) else clip


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
    image1, image2 = (enlarge(image[:, None], fraction)[:, 0] for image in (sample.image1, sample.image2))
    return resize_sparse(sample, size, Window(0, 0, *size))._replace(image1=image1, image2=image2)


class CropAndZoomFlow(CropAndZoom):
    """Cuts the same square out of the frames and the flow of a sample, and enlarges it as `zoomed` does."""

    def __call__(self, sample: FlowSample, rng: np.random.Generator) -> FlowSample:
        return zoomed(cut(sample, self._window(sample.valid.shape, rng)), self.zoom)


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
