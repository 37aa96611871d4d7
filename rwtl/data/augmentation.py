"""Random changes to a FlowSample that keep frames and flow consistent.

Each is a callable `(sample, rng) -> sample`; all randomness comes from the generator that is passed, so that a sample
is a function of whatever seeds it. How many numbers are drawn, and in which order, does not depend on outcomes or
probabilities: changing one probability leaves everything else as it was.
"""

import numpy as np
from jaxtyping import Float64

from rwtl.data.augmentation_config import AugmentationConfig, SparseAugmentationConfig
from rwtl.data.flow_sample import FlowSample
from rwtl.data.geometric import crop_window, cut, mirror, resize_dense, resize_sparse, scaled_size
from rwtl.data.photometric import ERASER_DRAWS, JITTER_DRAWS, change_colours, erase_boxes

# As in the last public version of RAFT's training code.
_DENSE_SLACK, _SPARSE_SLACK = 8, 1  # px by which a resized image is larger than the crop at least
_DENSE_MARGINS = ((0, 0), (0, 0))  # px along y and x, before and after, by which crops may miss: edges become likelier
_SPARSE_MARGINS = ((0, 20), (50, 50))  # crops at the top, where a laser sees nothing, are not made likelier


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

        sample = _recolour(sample, config, asymmetric < config.asymmetric_colour_probability, colours)
        if erased < config.eraser_probability:
            sample = sample._replace(image2=erase_boxes(sample.image2, boxes))
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

        sample = _recolour(sample, config, False, colours)
        if erased < config.eraser_probability:
            sample = sample._replace(image2=erase_boxes(sample.image2, boxes))
        size = tuple(sample.valid.shape)
        if scaled < config.scale_probability:
            factor = 2.0 ** _between(config.min_scale, config.max_scale, zoom)
            size = scaled_size(size, crop, factor, factor, _SPARSE_SLACK)
        window = crop_window(size, crop, _SPARSE_MARGINS, place)
        sample = resize_sparse(sample, size, window) if scaled < config.scale_probability else cut(sample, window)
        return mirror(sample, axis=-1) if flipped < config.horizontal_flip else sample


def _recolour(
    sample: FlowSample,
    config: AugmentationConfig | SparseAugmentationConfig,
    asymmetric: bool,
    draws: Float64[np.ndarray, "2 8"],
) -> FlowSample:
    amounts = (config.brightness, config.contrast, config.saturation, config.hue)
    image1, image2 = change_colours(sample.image1, sample.image2, amounts, asymmetric, draws)
    return sample._replace(image1=image1, image2=image2)


def _between(low: float, high: float, draw: float | Float64[np.ndarray, "n"]) -> float | Float64[np.ndarray, "n"]:
    return low + (high - low) * draw
