"""Predictions that need no training, against which a next-frame model is measured.

All take frames I1 to In in 0..1 and return predictions of I3 to I(n + 1), each from the two frames before it.
"""

from jaxtyping import Float
from torch import Tensor


def copy_last(frames: Float[Tensor, "b n c h w"]) -> Float[Tensor, "b n-1 c h w"]:
    """The baseline I3 = I2."""
    return frames[:, 1:]


def extrapolate(frames: Float[Tensor, "b n c h w"]) -> Float[Tensor, "b n-1 c h w"]:
    """The baseline I3 = 2·I2 - I1, within 0..1 where frames live."""
    return (2 * frames[:, 1:] - frames[:, :-1]).clamp(0, 1)
