"""Images to a size that the encoders can halve three times, and back; and the start of a sequence's next pair."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from scipy.interpolate import NearestNDInterpolator
from torch import Tensor

from rwtl.errors import InputError
from rwtl.flow.sample import PaddingMode

SMALLEST = 8  # px


class Window(NamedTuple):
    """Where an image lies within its padded form, in pixels."""

    top: int
    left: int
    height: int
    width: int


def pad_to_multiple_of_8(
    images: Float[Tensor, "b c h w"], mode: PaddingMode = "sintel"
) -> tuple[Float[Tensor, "b c h2 w2"], Window]:
    """Repeat the border until height and width are multiples of 8, as officially.

    Args:
        images: of at least 8×8 px.
        mode: `sintel` pads evenly on all sides; `kitti` pads the height at the bottom alone, as its sky has no flow.

    Returns:
        The padded images and where the images lie in them, for `crop_to`. 8×8 px become 16×16, as instance
        normalisation needs more than the one pixel that would be left at 1/8 of the resolution.
    """
    height, width = images.shape[-2:]
    if min(height, width) < SMALLEST:
        raise InputError(f"the images are {height}×{width} px; RAFT needs at least {SMALLEST}×{SMALLEST}")
    rows, columns = (8, 8) if height == width == SMALLEST else (-height % 8, -width % 8)
    top, left = rows // 2 if mode == "sintel" else 0, columns // 2
    padded = images
    if rows or columns:
        padded = F.pad(images, (left, columns - left, top, rows - top), mode="replicate")
    return padded, Window(top, left, height, width)


def crop_to(images: Float[Tensor, "b c h2 w2"], window: Window) -> Float[Tensor, "b c h w"]:
    """Undo `pad_to_multiple_of_8`."""
    return images[..., window.top : window.top + window.height, window.left : window.left + window.width]


def carry_forward(coarse: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b 2 h w"]:
    """Return an initial flow for the next pair, as RAFT's warm start (Teed & Deng, section 4.3) and its official code.

    Each pixel takes its flow along to where it points, and every pixel of the next frame gets that of the nearest
    arrival; what leaves the frame is forgotten, and where nothing arrives there is no motion.

    Args:
        coarse: flow at 1/8 of the resolution, in its pixels (`FlowEstimate.coarse`), finite.
    """
    height, width = coarse.shape[-2:]
    y, x = np.mgrid[:height, :width]
    carried = np.zeros(coarse.shape, np.float32)
    for flow, out in zip(coarse.detach().cpu().numpy(), carried, strict=True):
        arrivals = np.stack((x + flow[0], y + flow[1]), axis=-1).reshape(-1, 2)
        stays = ((arrivals > 0) & (arrivals < (width, height))).all(axis=1)
        if stays.any():
            nearest = NearestNDInterpolator(arrivals[stays], flow.reshape(2, -1).T[stays])
            out[:] = nearest(x, y).transpose(2, 0, 1)
    return torch.from_numpy(carried).to(coarse.device)
