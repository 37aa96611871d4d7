"""What a scene is made of: outlines, motions and light.

The displacement is a sum of plane waves, so flow is exact at every point; it is kept so little steep that it can be
undone by fixed-point iterations, whose number follows from the steepness.

Motion is steady: a surface moves by the same map from any frame to the next, so a translation goes on in a straight
line and a rotation on a circle, its flow depends on the place alone and not on the time, and it never folds.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from scipy.special import gammainc
from torch import Tensor

from rwtl.random import Draws

_WAVES = 4  # for each layer
_LARGEST = 2.5  # where Gaussians are cut
_STEEPEST = 0.4  # change of the non-rigid displacement per px; below 1 no surface folds
_PRECISION = 1e-4  # px, of the inverse
_WORD = 2**32 - 1
_ANGLES = 512
_TURN = np.float32(2 * np.pi)
_DIRECTIONS = np.linspace(-np.pi, np.pi, _ANGLES + 1, dtype=np.float32)


def random_outlines(
    draws: Draws, radius: Float64[np.ndarray, "scenes layers"]
) -> Float32[np.ndarray, "scenes layers angles"]:
    """Draw an ellipse, a regular polygon, or a blob with waves around it for each layer.

    Args:
        draws: Where the random values come from.
        radius: Distance of the farthest point of the edge, in px; 0 or less for a layer that needs no outline.

    Returns:
        Distance from the centre to the edge in px at equal steps of direction, from -pi to pi with both ends;
        -1 all around, which covers nothing, for a layer that needs no outline.
    """
    start, kind, aspect, corners, *waved = draws.uniform(10).astype(np.float32)
    kind = np.where(radius > 0, np.floor(3 * kind), -1)
    outlines = np.full((*radius.shape, _ANGLES + 1), -1.0, np.float32)
    for number in range(3):
        chosen = np.nonzero(kind == number)
        if not len(chosen[0]):
            continue
        around = _DIRECTIONS + _TURN * start[chosen][:, None]
        match number:
            case 0:
                flat = 0.35 + 0.65 * aspect[chosen][:, None]
                outline = flat / np.hypot(flat * np.cos(around), np.sin(around))
            case 1:
                sector = _TURN / np.floor(3 + 4 * corners[chosen][:, None])
                outline = np.cos(sector / 2) / np.cos(np.mod(around, sector) - sector / 2)
            case _:
                outline = 1.0
                for waves, depth, phase in (waved[:3], waved[3:]):
                    turns = around * np.floor(2 + 5 * waves[chosen][:, None]) + _TURN * phase[chosen][:, None]
                    outline = outline + (0.1 + 0.2 * depth[chosen][:, None]) * np.cos(turns)
        outlines[chosen] = (radius[chosen] / outline.max(axis=-1))[:, None] * outline
    return outlines


def outline_cover(
    outline: Float32[Tensor, "scenes angles"], points: Float[Tensor, "scenes frames 2 h w"]
) -> Float[Tensor, "scenes frames h w"]:
    """How much of the pixel at each point lies inside an outline.

    Args:
        outline: Distance to the edge by direction, as `random_outlines` gives it.
        points: To the right of the centre and down from it, in px.

    Returns:
        0..1, with an edge one px wide along the direction from the centre.
    """
    x, y = points.unbind(2)
    position = torch.atan2(y, x).mul_(_ANGLES / (2 * np.pi)).add_(_ANGLES / 2).round_().long()
    edge = outline.gather(1, position.flatten(1)).view(x.shape)
    return edge.sub_(torch.hypot(x, y)).add_(0.5).clamp_(0, 1)


def random_affine(
    draws: Draws,
    centre: Float64[np.ndarray, "scenes layers 2"],
    step: Float64[np.ndarray, "layers"],
    bend: Float64[np.ndarray, "layers"],
    tail: float,
) -> Float64[np.ndarray, "scenes layers 3 3"]:
    """Draw a translation of about `step` px, and a rotation, zoom and shear of about `bend` about the centre.

    Returns:
        Homogeneous matrices from a frame to the next, in px.
    """
    along, across, angle, zoom, stretch, shear = _powers(draws.normal(6), tail)
    # Turned, for powers of x and y would make long displacements along the axes likelier than any others.
    turn = 2 * np.pi * draws.uniform(1)[0]
    shift_x, shift_y = along * np.cos(turn) - across * np.sin(turn), along * np.sin(turn) + across * np.cos(turn)
    angle, zoom, stretch, shear = bend * angle, 0.5 * bend * zoom, 0.2 * bend * stretch, 0.2 * bend * shear
    cosine, sine = np.cos(angle), np.sin(angle)
    wide, high = np.exp(zoom + stretch), np.exp(zoom - stretch)
    motion = np.zeros((*angle.shape, 3, 3))
    motion[..., 0, 0], motion[..., 0, 1] = cosine * wide, cosine * shear - sine * high
    motion[..., 1, 0], motion[..., 1, 1] = sine * wide, sine * shear + cosine * high
    x, y = centre[..., 0], centre[..., 1]
    motion[..., 0, 2] = x + step * shift_x - motion[..., 0, 0] * x - motion[..., 0, 1] * y
    motion[..., 1, 2] = y + step * shift_y - motion[..., 1, 0] * x - motion[..., 1, 1] * y
    motion[..., 2, 2] = 1
    return motion


def random_waves(
    draws: Draws,
    extent: Float64[np.ndarray, "scenes layers"],
    length: Float64[np.ndarray, "scenes layers"],
    tail: float,
) -> tuple[Float64[np.ndarray, "scenes layers waves 3"], Float64[np.ndarray, "scenes layers 2 waves"]]:
    """Draw smooth non-rigid displacements.

    Args:
        draws: Where the random values come from.
        extent: Size of each surface in px; the waves are a quarter of it to all of it long.
        length: About how long the displacement is in px; it is cut where it would be too steep to be undone.
        tail: Power of the Gaussian that its length is drawn as.

    Returns:
        Wave vectors in rad/px with phases in rad, and the amplitudes of x and y in px.
    """
    angle, turn, wave_length, phase = draws.uniform(4 * _WAVES).reshape(4, _WAVES, *extent.shape).transpose(0, 2, 3, 1)
    power = np.abs(_powers(draws.normal(1)[0], tail))[..., None]
    number = 2 * np.pi / (extent[..., None] * 4 ** (wave_length - 1))
    size = length[..., None] * power * math.sqrt(2 / _WAVES)  # the squares of the waves have mean 1/2
    size = size * np.minimum(1, _STEEPEST / np.maximum((size * number).sum(axis=-1, keepdims=True), 1e-9))
    angle, turn = 2 * np.pi * angle, 2 * np.pi * turn
    vectors = np.stack([number * np.cos(angle), number * np.sin(angle), 2 * np.pi * phase], axis=-1)
    return vectors, np.stack([size * np.cos(turn), size * np.sin(turn)], axis=-2)


def reach_and_iterations(
    vectors: Float64[np.ndarray, "scenes layers waves 3"], amplitudes: Float64[np.ndarray, "scenes layers 2 waves"]
) -> tuple[Float64[np.ndarray, "scenes layers"], list[int]]:
    """Return the most that waves displace each layer (px), and the iterations that undo them in every scene."""
    sizes = np.linalg.norm(amplitudes, axis=-2)
    reach = sizes.sum(axis=-1)
    steep = (sizes * np.linalg.norm(vectors[..., :2], axis=-1)).sum(axis=-1)
    # An iteration shrinks the error, at first at most `reach`, by the factor `steep` (Banach).
    with np.errstate(divide="ignore"):
        needed = np.where(reach > _PRECISION, np.log(_PRECISION / np.maximum(reach, 1e-9)) / np.log(steep), 0)
    return reach, [int(number) for number in np.ceil(needed).max(axis=0)]


def affine(
    matrix: Float32[Tensor, "scenes frames 2 3"], x: Float[Tensor, "*#x"], y: Float[Tensor, "*#y"]
) -> Float[Tensor, "scenes frames 2 h w"]:
    """Map the points (x, y, 1); `x` and `y` are broadcast to (scenes, frames, 2, h, w)."""
    of_x, of_y, constant = matrix[..., None, None].unbind(3)
    # In this order x and y of a rectangle, given as a row and a column, meet in the last operation only.
    return torch.addcmul(torch.addcmul(constant, of_y, y), of_x, x)


def displacement(
    vectors: Float32[Tensor, "scenes waves 3"],
    amplitudes: Float32[Tensor, "scenes 2 waves"],
    points: Float[Tensor, "scenes frames 2 h w"],
) -> Float[Tensor, "scenes frames 2 h w"]:
    """Non-rigid displacement in px of one layer, to the next frame, at points of a frame."""
    x, y = points.unbind(2)
    result = torch.zeros_like(points)
    for vector, amplitude in zip(vectors.unbind(1), amplitudes.unbind(2), strict=True):
        of_x, of_y, phase = vector[..., None, None, None].unbind(1)
        wave = torch.addcmul(torch.addcmul(phase, of_y, y), of_x, x).sin_()
        result.addcmul_(amplitude[:, None, :, None, None], wave[:, :, None])
    return result


def undo_displacement(
    vectors: Float32[Tensor, "scenes waves 3"],
    amplitudes: Float32[Tensor, "scenes 2 waves"],
    points: Float[Tensor, "scenes frames 2 h w"],
    iterations: int,
) -> Float[Tensor, "scenes frames 2 h w"]:
    """Find the points that the non-rigid displacement brings to the given ones."""
    found = points
    for _ in range(iterations):
        found = points - displacement(vectors, amplitudes, found)
    return found


def _powers(gaussian: np.ndarray, tail: float) -> np.ndarray:
    """Signed powers of Gaussians that are cut at 2.5, scaled to a mean magnitude of 1."""
    gaussian = np.clip(gaussian, -_LARGEST, _LARGEST)
    half = (tail + 1) / 2
    mean = 2 ** (tail / 2) * math.gamma(half) / math.sqrt(math.pi) * gammainc(half, _LARGEST**2 / 2)
    mean += _LARGEST**tail * math.erfc(_LARGEST / math.sqrt(2))
    return gaussian * np.abs(gaussian) ** (tail - 1) / mean


def random_light(
    values: Float64[np.ndarray, "values scenes"], strength: float
) -> tuple[Float64[np.ndarray, "scenes 3 frames"], ...]:
    """Make a change of the light for each frame of each scene.

    Args:
        values: Random, of mean 0 and standard deviation 1: six kinds of change in turn, each for every frame.
        strength: 1 is usual, 0 is no change.

    Returns:
        Exponent (gamma), slope (contrast and colour), and offset (brightness) for each colour and frame, on the scale
        0..1.
    """
    values = values.clip(-_LARGEST, _LARGEST).reshape(6, -1, values.shape[1]).transpose(0, 2, 1)
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
