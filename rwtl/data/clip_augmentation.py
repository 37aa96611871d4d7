"""What is done to a clip as a whole, the same in all its frames: zoom, crop, rotation, mirroring."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from rwtl.data.clips_config import window_of, zoom_fraction
from rwtl.errors import InputError


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
        InputError: crop / zoom is no whole number; when called, the square does not fit into the clip.
    """

    crop: int
    zoom: float = 1.0

    def __post_init__(self):
        window_of(self.crop, self.zoom)

    def __call__(
        self, clip: Float[Tensor, "length 1 h w"], rng: np.random.Generator
    ) -> Float[Tensor, "length 1 crop crop"]:
        side, (rows, columns) = window_of(self.crop, self.zoom), clip.shape[-2:]
        if side > min(rows, columns):
            raise InputError(
                f"clips.crop is {self.crop} px at zoom {self.zoom:g}, a window of {side} cells, but the recording has "
                f"{rows}×{columns}; lower it"
            )
        top, left = int(rng.integers(rows - side + 1)), int(rng.integers(columns - side + 1))
        # A copy: a view would keep the whole clip alive, and would be sent whole between processes.
        return enlarge(clip[..., top : top + side, left : left + side].clone(), zoom_fraction(self.zoom))


def rotate_and_flip(clip: Float[Tensor, "length 1 h w"], rng: np.random.Generator) -> Float[Tensor, "length 1 h2 w2"]:
    """Apply one of the eight symmetries of the square, drawn from `rng`, to the clip as a whole."""
    clip = clip.rot90(int(rng.integers(4)), dims=(-2, -1))
    return clip.flip(-1) if rng.integers(2) else clip
