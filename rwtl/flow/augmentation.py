"""Random changes to a FlowSample that keep frames and flow consistent, and the settings of how much.

Defaults are those of RAFT's official training code (Teed and Deng 2020); what differs between its schedules has none.

Functions take the random numbers themselves, evenly spread over 0..1 (1 excluded), so that their number is fixed.

Each is a callable `(sample, rng) -> sample`; all randomness comes from the generator that is passed, so that a sample
is a function of whatever seeds it. How many numbers are drawn, and in which order, does not depend on outcomes or
probabilities: changing one probability leaves everything else as it was.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float32, Float64
from PIL import Image, ImageEnhance
from torch import Tensor

from rwtl.flow.geometric import crop_window, cut, mirror, resize_dense, resize_sparse, scaled_size
from rwtl.flow.sample import FlowSample
from rwtl.sections import Count, Range, Share, Unfit, section

JITTER_DRAWS = 8  # four amounts, and four numbers whose ranks are the order of the four changes
ERASER_DRAWS = 9  # how many boxes, and for each of at most two left, top, width and height
_BOX_SIDES = (50, 100)  # px, the second excluded
# As in the last public version of RAFT's training code.
_DENSE_SLACK, _SPARSE_SLACK = 8, 1  # px by which a resized image is larger than the crop at least
_DENSE_MARGINS = ((0, 0), (0, 0))  # px along y and x, before and after, by which crops may miss: edges become likelier
_SPARSE_MARGINS = ((0, 20), (50, 50))  # crops at the top, where a laser sees nothing, are not made likelier


def _require_order(config: "AugmentationConfig | SparseAugmentationConfig") -> None:
    if config.min_scale > config.max_scale:
        raise Unfit(f"min_scale is {config.min_scale}, above max_scale {config.max_scale}; swap them")


# 16 times smaller or larger: beyond it lies a factor that was mistaken for its logarithm.
_Log2 = Annotated[float, Range(-4, 4)]


@section("augmentation")
class AugmentationConfig:
    """Random changes to samples whose flow is known almost everywhere.

    Everything but the crop can be switched off with zeros; a crop as large as the frames then leaves them untouched.

    Args:
        height, width: of the crop, in px, at least 1.
        min_scale, max_scale: binary logarithm of the factor by which a sample is resized, evenly spread between them.
        scale_probability: how often a sample is resized at all.
        max_stretch: binary logarithm; each axis is resized by up to this much more or less than the other.
        stretch_probability: how often a resized sample is stretched too.
        horizontal_flip, vertical_flip: probabilities of mirroring.
        brightness, contrast, saturation: most by which a factor of 1 is changed, 0 to 1.
        hue: most by which the hue is turned, as a share of the full circle, 0 to 0.5.
        asymmetric_colour_probability: how often the two frames' colours are changed each in its own way.
        eraser_probability: how often boxes of frame 2 are painted over, as if something hid what was there.

    Raises:
        InputError: A value lies outside its range.
    """

    height: Count
    width: Count
    min_scale: _Log2
    max_scale: _Log2
    scale_probability: Share = 0.8
    max_stretch: Annotated[float, Range(0, 4)] = 0.2
    stretch_probability: Share = 0.8
    horizontal_flip: Share = 0.5
    vertical_flip: Share = 0.1
    brightness: Share = 0.4
    contrast: Share = 0.4
    saturation: Share = 0.4
    hue: Annotated[float, Range(0, 0.5)] = 0.5 / math.pi
    asymmetric_colour_probability: Share = 0.2
    eraser_probability: Share = 0.5

    def __post_init__(self):
        _require_order(self)


@section("augmentation")
class SparseAugmentationConfig:
    """Random changes to samples whose flow is known at scattered pixels only (KITTI, HD1K).

    Both axes are resized alike, both frames' colours are changed alike, and top and bottom are never swapped.

    Args:
        height, width, min_scale, max_scale, scale_probability: as for dense flow.
        horizontal_flip: probability of mirroring; 0 in the official schedule for KITTI alone.
        brightness, contrast, saturation, hue, eraser_probability: as for dense flow.

    Raises:
        InputError: A value lies outside its range.
    """

    height: Count
    width: Count
    min_scale: _Log2
    max_scale: _Log2
    scale_probability: Share = 0.8
    horizontal_flip: Share = 0.5
    brightness: Share = 0.3
    contrast: Share = 0.3
    saturation: Share = 0.3
    hue: Annotated[float, Range(0, 0.5)] = 0.3 / math.pi
    eraser_probability: Share = 0.5

    def __post_init__(self):
        _require_order(self)


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


class Augmentation:
    """RAFT's changes to samples of dense flow: colour, erased boxes, scale and stretch, flips, crop.

    Frames are RGB, 0..255, float32 as the flow; frames whose colour is changed come back in whole numbers before they
    are resized. What is not switched on costs nothing.

    Args:
        config: how much is changed and how often.

    Raises:
        InputError: When called, a sample that is not resized is smaller than the crop.
    """

    def __init__(self, config: AugmentationConfig) -> None:
        self.config = config

    def __call__(self, sample: FlowSample, rng: np.random.Generator) -> FlowSample:
        config, crop = self.config, (self.config.height, self.config.width)
        asymmetric, erased, scaled, stretched, flipped, upturned = rng.random(6).tolist()
        colours, boxes = rng.random((2, JITTER_DRAWS)), rng.random(ERASER_DRAWS)
        zoom, stretch, place = rng.random(), rng.random(2), rng.random(2)

        sample = _repainted(sample, config, asymmetric < config.asymmetric_colour_probability, colours, erased, boxes)
        size = tuple(sample.valid.shape)
        if scaled < config.scale_probability:
            exponents = np.full(2, _between(config.min_scale, config.max_scale, zoom))
            if stretched < config.stretch_probability:
                exponents += _between(-config.max_stretch, config.max_stretch, stretch)
            size = scaled_size(size, crop, *np.exp2(exponents).tolist(), _DENSE_SLACK)
        window = crop_window(size, crop, _DENSE_MARGINS, place)
        sample = resize_dense(sample, size, window) if scaled < config.scale_probability else cut(sample, window)
        # Mirrored after the cut, which is as likely to be anywhere as at its mirror image, and is less to copy.
        if flipped < config.horizontal_flip:
            sample = mirror(sample, axis=-1)
        if upturned < config.vertical_flip:
            sample = mirror(sample, axis=-2)
        return sample


class SparseAugmentation:
    """RAFT's changes to samples of sparse flow: as `Augmentation`, save that flow is moved instead of resampled.

    Args:
        config: how much is changed and how often.

    Raises:
        InputError: When called, a sample that is not resized is smaller than the crop.
    """

    def __init__(self, config: SparseAugmentationConfig) -> None:
        self.config = config

    def __call__(self, sample: FlowSample, rng: np.random.Generator) -> FlowSample:
        config, crop = self.config, (self.config.height, self.config.width)
        erased, scaled, flipped = rng.random(3).tolist()
        colours, boxes = rng.random((2, JITTER_DRAWS)), rng.random(ERASER_DRAWS)
        zoom, place = rng.random(), rng.random(2)

        sample = _repainted(sample, config, False, colours, erased, boxes)
        size = tuple(sample.valid.shape)
        if scaled < config.scale_probability:
            factor = 2.0 ** _between(config.min_scale, config.max_scale, zoom)
            size = scaled_size(size, crop, factor, factor, _SPARSE_SLACK)
        window = crop_window(size, crop, _SPARSE_MARGINS, place)
        sample = resize_sparse(sample, size, window) if scaled < config.scale_probability else cut(sample, window)
        return mirror(sample, axis=-1) if flipped < config.horizontal_flip else sample


def _repainted(
    sample: FlowSample,
    config: AugmentationConfig | SparseAugmentationConfig,
    asymmetric: bool,
    colours: Float64[np.ndarray, "2 8"],
    erased: float,
    boxes: Float64[np.ndarray, "9"],
) -> FlowSample:
    """Change the colours of a sample, then erase boxes, as the random numbers say."""
    amounts = (config.brightness, config.contrast, config.saturation, config.hue)
    image1, image2 = change_colours(sample.image1, sample.image2, amounts, asymmetric, colours)
    if erased < config.eraser_probability:
        image2 = erase_boxes(image2, boxes)
    return sample._replace(image1=image1, image2=image2)


def _between(low: float, high: float, draw: float | Float64[np.ndarray, "n"]) -> float | Float64[np.ndarray, "n"]:
    return low + (high - low) * draw
