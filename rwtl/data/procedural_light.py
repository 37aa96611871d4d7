"""What a camera changes from frame to frame, and the flow does not: exposure, colour, and noise of the sensor."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

_WORD = 2**32 - 1


def random_light(
    values: Float64[np.ndarray, "values scenes"], strength: float
) -> tuple[Float64[np.ndarray, "scenes 3 frames"], ...]:
    """Make a change of the light for each frame of each scene.

    Args:
        values: Random, of mean 0 and standard deviation 1: six kinds of change in turn, each for
            every frame.
        strength: 1 is usual, 0 is no change.

    Returns:
        Exponent (gamma), slope (contrast and colour), and offset (brightness) for each colour and frame, on the scale
        0..1.
    """
    values = values.clip(-2.5, 2.5).reshape(6, -1, values.shape[1]).transpose(0, 2, 1)
    gamma, contrast, brightness, colour = *values[:3], values[3:].swapaxes(0, 1)
    slope = np.exp(strength * (0.15 * contrast[:, None] + 0.06 * colour))
    # Contrast turns about mid-grey.
    offset = 0.5 * (1 - slope) + 0.06 * strength * brightness[:, None]
    exponent = np.broadcast_to(np.exp(0.15 * strength * gamma)[:, None], slope.shape)
    return exponent, slope, offset


def change_light(
    frames: Float[Tensor, "scenes 3 frames h w"],
    exponent: Float[Tensor, "scenes 3 frames"],
    slope: Float[Tensor, "scenes 3 frames"],
    offset: Float[Tensor, "scenes 3 frames"],
) -> Float[Tensor, "scenes 3 frames h w"]:
    """Return RGB frames, 0..255, under another light."""
    exponent, slope, offset = (values[..., None, None] for values in (exponent, slope, offset))
    return frames.div(255).pow_(exponent).mul_(slope).add_(offset).clamp_(0, 1).mul_(255)


def sensor_noise(
    keys: Int64[Tensor, "scenes 2"], times: Sequence[int], height: int, width: int
) -> Float[Tensor, "scenes 3 frames h w"]:
    """Make white noise of mean 0 and standard deviation 1, a function of the scene's key, the time and the pixel.

    Args:
        keys: Two numbers of 32 bits for each scene.
        times: Numbers of the frames, each 0 or more.
        height, width: Of the frames in px.
    """
    # Numbered by twos of frames, in each by colour, frame, row and column.
    two = 6 * height * width
    pixels = torch.arange(two, device=keys.device).view(3, 2, height, width)
    pixels = torch.stack([time // 2 * two + pixels[:, time % 2] for time in times], dim=1)
    words = _mix(_mix(pixels.flatten() ^ keys[:, :1]) ^ keys[:, 1:])
    # One word gives a radius and an angle (Box and Muller, 1958).
    radius = ((words >> 16) + 0.5).div_(2**16).log_().mul_(-2).sqrt_()
    return radius.mul_(((words & 0xFFFF) * (2 * np.pi / 2**16)).cos_()).view(-1, *pixels.shape)


def _mix(words: Int64[Tensor, "scenes n"]) -> Int64[Tensor, "scenes n"]:
    """Scatter 32-bit words: MurmurHash3's finaliser (Appleby, public domain), in 64 bits, for want of unsigned 32."""
    words = (words ^ (words >> 16)) * 0x85EBCA6B & _WORD
    words = (words ^ (words >> 13)) * 0xC2B2AE35 & _WORD
    return words ^ (words >> 16)
