"""Random colour textures that can be evaluated at any point: the surfaces of `procedural_flow`."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch.nn import functional

_SPACINGS = (16, 8, 4, 2)  # px between the random values of each octave, coarse to fine
# Amplitudes of natural images fall with frequency (Field, JOSA A 1987): fine grain alone is no usual surface.
_AMPLITUDES = np.array([1.0, 0.6, 0.35, 0.2])
_PATTERNS = ("none", "grating", "checks")


@dataclass(frozen=True)
class Texture:
    """The random values that make one surface out of a noise canvas.

    Attributes:
        base: RGB mean, 0..255.
        palette: RGB change per unit of each octave, and, last, of the pattern.
        placement: Affine map from surface coordinates (x, y, 1) in px to the canvas, where octaves are read.
        pattern: What is added to the octaves: "none", "grating" or "checks".
        waves: Two wave vectors in rad/px with their phases in rad; a grating uses the first only.
        sharpness: Contrast of the pattern before it is cut to -1..1: 1 is a sine, more is harder-edged.
    """

    base: Float64[np.ndarray, "3"]
    palette: Float64[np.ndarray, "3 components"]
    placement: Float64[np.ndarray, "2 3"]
    pattern: str
    waves: Float64[np.ndarray, "2 3"]
    sharpness: float


def noise_canvas(rng: np.random.Generator, period: int) -> Float32[np.ndarray, "octaves side side"]:
    """Make periodic smooth noise, one channel per octave, with features of 2, 4, 8 and 16 px.

    Args:
        rng: Where the random values come from.
        period: Least period in px; it is rounded up to a multiple of 16.

    Returns:
        Cubic B-spline noise of mean 0 and standard deviation about 1, coarse octave first; its first row and column
        are repeated at the end.
    """
    side = -(-period // _SPACINGS[0])
    octaves = np.empty((0, side, side), np.float32)
    for _ in _SPACINGS:
        values = rng.standard_normal((1, *octaves.shape[1:]), dtype=np.float32)
        # Smoothing with a two-dimensional cubic B-spline leaves 0.48 of the standard deviation.
        octaves = np.concatenate([octaves, values / np.float32(0.48)])
        octaves = _refine(_refine(octaves))
    return np.pad(octaves, ((0, 0), (0, 1), (0, 1)), mode="wrap")


def random_texture(rng: np.random.Generator) -> Texture:
    """Draw a surface: colours, octave weights, place on the canvas, and pattern."""
    octaves = len(_SPACINGS)
    uniform = rng.random(octaves + 14)
    # Uneven shares of the variance, or every surface would look like the same grain.
    shares = -np.log1p(-uniform[:octaves])
    shares = _AMPLITUDES * np.sqrt(shares / shares.sum())
    shares /= np.linalg.norm(shares)
    base, (contrast, angle, scale, offset_x, offset_y), (period, period2, turn, phase, phase2, sharpness) = np.split(
        uniform[octaves:], [3, 8]
    )
    # A pattern alone is ambiguous along itself and in steps of its period: noise keeps a good share of the contrast.
    pattern = _PATTERNS[rng.integers(len(_PATTERNS))]
    pattern_share = 0.0 if pattern == "none" else rng.uniform(0.3, 0.7)
    shares = np.append((1 - pattern_share) * shares, pattern_share)
    tints = 1 + 0.5 * rng.standard_normal((3, octaves + 1))
    period, period2, turn = 8 * 4**period, 8 * 4**period2, np.pi * turn  # 8 to 32 px
    wave_number, wave_number2 = 2 * np.pi / period, 2 * np.pi / period2
    # 1.15 to 2.3 px of the surface for each px of the canvas: finer noise, like harder edges of a fine pattern, would
    # be sampled too coarsely by the frames, and its grain would not move with the surface.
    zoom, angle = 2 ** (-0.2 - scale), 2 * np.pi * angle
    cosine, sine = zoom * math.cos(angle), zoom * math.sin(angle)
    return Texture(
        base=80 + 95 * base,
        palette=(70 + 50 * contrast) * shares * tints,
        placement=np.array([[cosine, -sine, 1024 * offset_x], [sine, cosine, 1024 * offset_y]]),
        pattern=pattern,
        waves=np.array(
            [
                [wave_number * math.cos(turn), wave_number * math.sin(turn), 2 * np.pi * phase],
                [-wave_number2 * math.sin(turn), wave_number2 * math.cos(turn), 2 * np.pi * phase2],
            ]
        ),
        sharpness=(min(period, period2) / 8) ** sharpness,
    )


def evaluate_texture(
    texture: Texture,
    canvas: Float32[np.ndarray, "octaves side side"],
    to_surface: Float64[np.ndarray, "3 3"],
    x: Float32[np.ndarray, "w"],
    y: Float32[np.ndarray, "h"],
) -> Float32[np.ndarray, "3 h w"]:
    """Colour of a surface at the pixels of a rectangle.

    Args:
        texture: The surface.
        canvas: Noise of `noise_canvas`.
        to_surface: Homogeneous affine map from frame coordinates (x, y, 1) to surface coordinates, in px.
        x: Frame coordinates of the columns, in px.
        y: Frame coordinates of the rows, in px.

    Returns:
        RGB, 0..255: a continuous function of the surface point, the same for whichever frame it is asked.
    """
    palette = texture.palette.astype(np.float32)
    period = canvas.shape[-1] - 1
    octaves = _sample(canvas, *affine(texture.placement / period @ to_surface, x, y))
    colour = np.einsum("co,ohw->chw", palette[:, :-1], octaves)
    colour += texture.base.astype(np.float32)[:, None, None]
    if texture.pattern != "none":
        wave, crossing = (np.sin(phase, out=phase) for phase in affine(texture.waves @ to_surface, x, y))
        if texture.pattern == "checks":
            wave *= crossing
        wave *= np.float32(texture.sharpness)
        colour += palette[:, -1, None, None] * np.clip(wave, -1, 1, out=wave)
    return np.clip(colour, 0, 255, out=colour)


def affine(
    matrix: Float64[np.ndarray, "2 3"], x: Float32[np.ndarray, "w"], y: Float32[np.ndarray, "h"]
) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """Map the points (x, y, 1) of a rectangle; returns both coordinates of every point."""
    (a, b, c), (d, e, f) = matrix.astype(np.float32)
    return a * x + (b * y + c)[:, None], d * x + (e * y + f)[:, None]


def _refine(values: Float32[np.ndarray, "c n m"]) -> Float32[np.ndarray, "c m 2*n"]:
    """Double the samples along the first image axis of periodic cubic B-splines, and swap the image axes."""
    padded = np.concatenate([values[:, -1:], values, values[:, :1]], axis=1)
    refined = np.empty((values.shape[0], values.shape[2], 2 * values.shape[1]), np.float32)
    between = padded[:, :-1] + padded[:, 1:]
    # The subdivision rule (1 6 1)/8 at the old samples and (1 1)/2 halfway, by way of the sums of neighbours.
    refined[:, :, 0::2] = ((between[:, :-1] + between[:, 1:] + 4 * values) / 8).swapaxes(1, 2)
    refined[:, :, 1::2] = (between[:, 1:] / 2).swapaxes(1, 2)
    return refined


def _sample(
    canvas: Float32[np.ndarray, "octaves side side"], x: Float32[np.ndarray, "h w"], y: Float32[np.ndarray, "h w"]
) -> Float32[np.ndarray, "octaves h w"]:
    """Bilinear interpolation of the periodic canvas at x and y in periods from its centre."""
    # The canvas ends with a copy of its first row and column, so that -1..1 with aligned corners is one period.
    grid = np.stack([x, y], axis=-1)
    grid -= np.rint(grid)
    grid *= 2
    # torch shares out work by images: a single one is sampled by one thread, always with the same bits.
    period = torch.from_numpy(canvas)[None]
    return functional.grid_sample(period, torch.from_numpy(grid)[None], align_corners=True)[0].numpy()
