"""Frames that are given to RAFT smaller than they are: scaled down, or in tiles that overlap."""

from collections.abc import Callable
from math import ceil

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from rwtl.errors import InputError
from rwtl.models.parts import SMALLEST

Estimate = Callable[[Tensor, Tensor], Tensor]  # two images (b, 3, h, w) to the flow (b, 2, h, w)


def in_tiles(
    estimate: Estimate,
    image1: Float[Tensor, "b 3 h w"],
    image2: Float[Tensor, "b 3 h w"],
    tile: tuple[int, int],
    overlap: int,
) -> Float[Tensor, "b 2 h w"]:
    """Return the flow that is estimated tile by tile: memory is that of one tile, whatever the size of the frame.

    The tiles are spread evenly over the frame. Where they overlap, each counts by a weight that falls linearly to its
    border, so that no seams are seen. What moves by more than reaches out of its tile cannot be found.

    Args:
        estimate: is given the same tile of both images.
        image1, image2: RGB, 0..255.
        tile: height and width of a tile, px; of a frame that is smaller than a tile there is one tile along that axis.
        overlap: by how many px neighbouring tiles overlap at least; less than a side of a tile.

    Returns:
        Flow in px.

    Raises:
        InputError: The overlap is not smaller than a side of which there are several.
    """
    height, width = image1.shape[-2:]
    sides = (min(tile[0], height), min(tile[1], width))
    if any(overlap >= side for side, whole in zip(sides, (height, width), strict=True) if side < whole):
        raise InputError(f"overlap is {overlap} px; it must be smaller than the tile, {sides[0]}×{sides[1]} px")
    weight = _ramp(sides[0], overlap)[:, None] * _ramp(sides[1], overlap)[None, :]
    weight = weight.to(image1.device)
    total = image1.new_zeros(len(image1), 2, height, width)
    weights = image1.new_zeros(height, width)
    for top in _places(height, sides[0], overlap):
        for left in _places(width, sides[1], overlap):
            at = (..., slice(top, top + sides[0]), slice(left, left + sides[1]))
            total[at] += weight * estimate(image1[at], image2[at]).to(total.dtype)
            weights[at] += weight
    return total / weights


def _places(length: int, side: int, overlap: int) -> list[int]:
    """Return where tiles begin, spread evenly over a length."""
    count = ceil((length - side) / (side - overlap)) + 1 if side < length else 1
    return [round(number * (length - side) / max(1, count - 1)) for number in range(count)]


def _ramp(side: int, overlap: int) -> Float[Tensor, " side"]:
    """Return the weight of a tile's pixels along an axis: 1 in its middle, falling to its borders over the overlap."""
    distance = torch.arange(1, side + 1, dtype=torch.float32)
    return torch.minimum(distance, distance.flip(0)).clamp(max=overlap + 1) / (overlap + 1)


def scaled(
    estimate: Estimate, image1: Float[Tensor, "b 3 h w"], image2: Float[Tensor, "b 3 h w"], scale: float
) -> Float[Tensor, "b 2 h w"]:
    """Return the flow that is estimated on frames of `scale` times their size, in px of the frames as they are.

    Args:
        estimate: is given both images, scaled with antialiasing.
        image1, image2: RGB, 0..255.
        scale: above 0; 0.5 halves both sides.

    Raises:
        InputError: A side would have less than 8 px.
    """
    height, width = image1.shape[-2:]
    size = (round(height * scale), round(width * scale))
    if min(size) < SMALLEST:
        raise InputError(f"scaled by {scale:g} the frames are {size[0]}×{size[1]} px; RAFT needs at least 8×8")
    flow = estimate(*(F.interpolate(image, size, mode="bilinear", antialias=True) for image in (image1, image2)))
    flow = F.interpolate(flow, (height, width), mode="bilinear")
    return flow * flow.new_tensor((width / size[1], height / size[0]))[:, None, None]
