"""How frames of one channel become the RGB images that RAFT's encoders expect."""

from functools import cache
from typing import Literal, get_args

import torch
from jaxtyping import Float
from matplotlib import colormaps
from torch import Tensor

from rwtl.errors import InputError

# `grey` repeats the channel, `blue_red` is the colour map of the pictures of waves, `rgb` frames have colours.
Colour = Literal["grey", "blue_red", "rgb"]
_SHADES = 256


def channels_of(colour: Colour) -> int:
    """Return how many channels frames have before `to_rgb`."""
    if colour not in get_args(Colour):
        raise InputError(f"colour is {colour!r}; choose one of {', '.join(get_args(Colour))}")
    return 3 if colour == "rgb" else 1


@cache
def _blue_red() -> Float[Tensor, "256 3"]:
    return torch.tensor(colormaps["coolwarm"].resampled(_SHADES)(range(_SHADES))[:, :3], dtype=torch.float32)


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
