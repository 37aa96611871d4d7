"""How much a training sample is changed at random: for dense flow, and for sparse flow such as a laser scanner's.

Defaults are those of RAFT's official training code (Teed and Deng 2020); what differs between its schedules has none.
"""

import math
from dataclasses import asdict, dataclass

from rwtl.errors import InputError


@dataclass
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

    height: int
    width: int
    min_scale: float
    max_scale: float
    scale_probability: float = 0.8
    max_stretch: float = 0.2
    stretch_probability: float = 0.8
    horizontal_flip: float = 0.5
    vertical_flip: float = 0.1
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.5 / math.pi
    asymmetric_colour_probability: float = 0.2
    eraser_probability: float = 0.5

    def __post_init__(self):
        _check(asdict(self))


@dataclass
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

    height: int
    width: int
    min_scale: float
    max_scale: float
    scale_probability: float = 0.8
    horizontal_flip: float = 0.5
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    hue: float = 0.3 / math.pi
    eraser_probability: float = 0.5

    def __post_init__(self):
        _check(asdict(self))


def _check(values: dict[str, int | float]) -> None:
    """Refuse the first value that lies outside its range; every key but those named here is a share of 1."""
    limits = {"height": (1, math.inf), "width": (1, math.inf), "hue": (0, 0.5)}
    # 16 times smaller or larger: beyond it lies a factor that was mistaken for its logarithm.
    limits |= {"min_scale": (-4, 4), "max_scale": (-4, 4), "max_stretch": (0, 4)}
    for key, value in values.items():
        least, most = limits.get(key, (0, 1))
        if not least <= value <= most:
            must = f"lie in {least} to {most}" if most < math.inf else f"be at least {least}"
            raise InputError(f"augmentation: {key} is {value}; it must {must}")
    if values["min_scale"] > values["max_scale"]:
        raise InputError(
            f"augmentation: min_scale is {values['min_scale']}, above max_scale {values['max_scale']}; swap them"
        )
