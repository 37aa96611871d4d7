"""Random changes of colour, and boxes of frame 2 painted over; the flow stays as it is.

Functions take the random numbers themselves, evenly spread over 0..1 (1 excluded), so that their number is fixed.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32, Float64
from PIL import Image, ImageEnhance
from torch import Tensor

JITTER_DRAWS = 8  # four amounts, and four numbers whose ranks are the order of the four changes
ERASER_DRAWS = 9  # how many boxes, and for each of at most two left, top, width and height
_BOX_SIDES = (50, 100)  # px, the second excluded


def change_colours(
    image1: Float32[Tensor, "3 h w"],
    image2: Float32[Tensor, "3 h w"],
    amounts: Sequence[float],
    asymmetric: bool,
    draws: Float64[np.ndarray, "2 8"],
) -> tuple[Float32[Tensor, "3 h w"], Float32[Tensor, "3 h w"]]:
    """Change brightness, contrast, saturation and hue in random order, as torchvision's ColorJitter does.

    Args:
        image1, image2: frames, RGB, 0..255.
        amounts: the most by which brightness, contrast and saturation (factors around 1) and hue (shares of the full
            circle around 0) are changed; what has 0 is left alone.
        asymmetric: whether each frame is changed in its own way; otherwise contrast refers to the mean of both.
        draws: random numbers; the second row is for frame 2 where it is changed in its own way.

    Returns:
        The frames in whole numbers, since the changes are made in 8 bits; the frames themselves if nothing is changed.
    """
    if not any(amounts):
        return image1, image2
    if asymmetric:
        return _jitter(image1, amounts, draws[0]), _jitter(image2, amounts, draws[1])
    both = _jitter(torch.cat([image1, image2], dim=1), amounts, draws[0])
    return tuple(both.chunk(2, dim=1))


def erase_boxes(image2: Float32[Tensor, "3 h w"], draws: Float64[np.ndarray, "9"]) -> Float32[Tensor, "3 h w"]:
    """Return frame 2 with one or two boxes of 50 to 99 px a side, cut at the edges, filled with its mean colour."""
    _, height, width = image2.shape
    mean = image2.mean(dim=(1, 2))[:, None, None]
    erased = image2.clone()
    least, end = _BOX_SIDES
    for left, top, across, down in draws[1:].reshape(2, 4)[: 1 + int(2 * draws[0])]:
        left, top = int(left * width), int(top * height)
        across, down = (least + int(draw * (end - least)) for draw in (across, down))
        erased[:, top : top + down, left : left + across] = mean
    return erased


def _jitter(
    image: Float32[Tensor, "3 h w"], amounts: Sequence[float], draws: Float64[np.ndarray, "8"]
) -> Float32[Tensor, "3 h w"]:
    eight_bit = (image + 0.5).clamp_(0, 255).to(torch.uint8)
    picture = Image.fromarray(eight_bit.permute(1, 2, 0).contiguous().numpy())
    for change in np.argsort(draws[4:]):
        if amounts[change] > 0:
            picture = _CHANGES[change](picture, float(2 * draws[change] - 1) * amounts[change])
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous().float()


def _turn_hue(picture: Image.Image, share: float) -> Image.Image:
    hue, saturation, value = picture.convert("HSV").split()
    turned = hue.point([(level + int(255 * share)) % 256 for level in range(256)])
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


_CHANGES = (
    lambda picture, shift: ImageEnhance.Brightness(picture).enhance(1 + shift),
    lambda picture, shift: ImageEnhance.Contrast(picture).enhance(1 + shift),
    lambda picture, shift: ImageEnhance.Color(picture).enhance(1 + shift),
    _turn_hue,
)
