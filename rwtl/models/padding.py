"""Images to a size that the encoders can halve three times, and back."""

from typing import Any, Literal, NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from rwtl.errors import InputError

PaddingMode = Literal["sintel", "kitti"]
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


def padding_of(dataset: Any) -> PaddingMode:
    """Return how the images of a data set are padded, as officially: KITTI's its way, all others as Sintel's."""
    return getattr(dataset, "padding", "sintel")
