"""Random colour textures that can be evaluated at any point: the surfaces of scenes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor
from torch.nn import functional

from rwtl.flow.scenes.elements import affine
from rwtl.random import Draws

_SPACINGS = (16, 8, 4, 2)  # px between the random values of each octave, coarse to fine
# Amplitudes of natural images fall with frequency (Field, JOSA A 1987): fine grain alone is no usual surface.
_AMPLITUDES = np.array([1.0, 0.6, 0.35, 0.2])
# Every pattern is a mixture, cut to -1..1, of two crossing waves a and b, which the coarse noise n may bend:
# the weights of a, b, a·b, 1 and n, how far n bends the waves in rad, and a factor of the contrast.
_PATTERNS = {
    "noise": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    "grating": (1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    "checks": (0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    "dots": (1.0, 1.0, 0.0, -0.7, 0.0, 0.0, 1.2),
    "tiles": (1.0, 1.0, 1.0, 0.6, 0.0, 0.0, 1.0),
    "marble": (1.0, 0.0, 0.0, 0.0, 0.0, 1.8, 1.0),
    "patches": (0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 3.0),
}
TEXTURES = tuple(_PATTERNS)


@dataclass
class Textures:
    """The random values that make surfaces out of noise canvases, for each layer of each scene.

    Attributes:
        base: RGB mean, 0..255.
        palette: RGB change per unit of each octave, and, last, of the pattern.
        placement: Affine map from surface coordinates (x, y, 1) in px to periods of the canvas.
        waves: Two wave vectors in rad/px with their phases in rad.
        pattern: Weights of the waves and the noise in the pattern, and how far the noise bends the waves in rad.
    """

    base: Float64[np.ndarray, "scenes layers 3"]
    palette: Float64[np.ndarray, "scenes layers 3 components"]
    placement: Float64[np.ndarray, "scenes layers 2 3"]
    waves: Float64[np.ndarray, "scenes layers 2 3"]
    pattern: Float64[np.ndarray, "scenes layers 6"]


def canvas_values(draws: Draws, period: int) -> list[Float32[np.ndarray, "scenes _ _"]]:
    """Draw the random values of each octave of a canvas, coarse to fine; `period` px is rounded up to 16 px."""
    side = -(-period // _SPACINGS[0])
    sides = [side * _SPACINGS[0] // spacing for spacing in _SPACINGS]
    parts = np.split(draws.field(sum(side**2 for side in sides)), np.cumsum([side**2 for side in sides])[:-1], axis=1)
    # Smoothing with a two-dimensional cubic B-spline leaves 0.48 of the standard deviation.
    return [part.reshape(-1, side, side) / np.float32(0.48) for part, side in zip(parts, sides, strict=True)]


def noise_canvas(values: list[Float32[Tensor, "scenes _ _"]]) -> Float32[Tensor, "scenes octaves side side"]:
    """Make periodic smooth noise out of `canvas_values`, with features of 16, 8, 4 and 2 px.

    Returns:
        Cubic B-spline noise of mean 0 and standard deviation about 1, coarse octave first; its first row and column
        are repeated at the end.
    """
    half = values[-1].shape[-1]
    octaves = [values[-1]]
    for coarse in values[:-1]:
        between = _between(coarse.shape[-1], half).to(coarse.device)
        # Once along each axis, which change places.
        octaves.insert(-1, functional.linear(functional.linear(coarse, between).transpose(1, 2), between))
    return functional.pad(_refine(_refine(torch.stack(octaves, dim=1), 2), 3), (0, 1, 0, 1), mode="circular")


def random_textures(draws: Draws, kinds: Sequence[str], contrast: float, period: int) -> Textures:
    """Draw surfaces: colours, octave weights, place on the canvas, and pattern.

    Args:
        draws: Where the random values come from.
        kinds: Names from TEXTURES, each as likely as the others.
        contrast: Factor of all differences within a surface.
        period: Period of the canvas in px.
    """
    octaves = len(_SPACINGS)
    # Uneven shares of the variance, or every surface would look like the same grain.
    shares = _AMPLITUDES[:, None, None] ** 2 * -np.log1p(-draws.uniform(octaves))
    shares = np.sqrt(shares / shares.sum(axis=0))
    base, (strength, angle, scale, *offset) = draws.uniform(3), draws.uniform(5)
    period_a, period_b, turn, phase_a, phase_b, sharpness, kind, pattern_share = draws.uniform(8)
    pattern = np.array([_PATTERNS[name] for name in kinds])[(len(kinds) * kind).astype(int)]
    # A pattern alone is ambiguous along itself and in steps of its period: noise keeps a good share of the contrast.
    pattern_share = np.where(pattern[..., :5].any(axis=-1), 0.3 + 0.4 * pattern_share, 0.0)
    shares = np.concatenate([(1 - pattern_share) * shares, pattern_share[None]])
    tints = 1 + 0.5 * draws.normal(3 * (octaves + 1)).reshape(3, octaves + 1, *kind.shape)
    palette = contrast * (70 + 50 * strength) * shares * tints
    period_a, period_b, turn = 8 * 4**period_a, 8 * 4**period_b, np.pi * turn  # 8 to 32 px
    # 1.15 to 2.3 px of the surface for each px of the canvas: finer noise, like harder edges of a fine pattern, would
    # be sampled too coarsely by the frames, and its grain would not move with the surface.
    zoom, angle = 2 ** (-0.2 - scale) / period, 2 * np.pi * angle
    cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
    wave_a, wave_b = 2 * np.pi / period_a, 2 * np.pi / period_b
    pattern[..., :5] *= ((np.minimum(period_a, period_b) / 8) ** sharpness)[..., None] * pattern[..., 6:]
    return Textures(
        base=80 + 95 * base.transpose(1, 2, 0),
        palette=palette.transpose(2, 3, 0, 1),
        placement=_rows([cosine, -sine, offset[0]], [sine, cosine, offset[1]]),
        waves=_rows(
            [wave_a * np.cos(turn), wave_a * np.sin(turn), 2 * np.pi * phase_a],
            [-wave_b * np.sin(turn), wave_b * np.cos(turn), 2 * np.pi * phase_b],
        ),
        pattern=pattern[..., :6],
    )


def evaluate_texture(
    canvas: Float32[Tensor, "scenes octaves side side"],
    base: Float32[Tensor, "scenes 3"],
    palette: Float32[Tensor, "scenes 3 components"],
    pattern: Float32[Tensor, "scenes 6"],
    used: Sequence[bool],
    to_canvas: Float32[Tensor, "scenes frames 2 3"],
    to_waves: Float32[Tensor, "scenes frames 2 3"],
    x: Float[Tensor, "*#x"],
    y: Float[Tensor, "*#y"],
) -> Float[Tensor, "scenes 3 frames h w"]:
    """Colour of one layer's surface at the pixels of a rectangle.

    Args:
        canvas: Noise of `noise_canvas`.
        base, palette, pattern: The surface, as in Textures.
        used: For each value of `pattern`, whether any scene has one other than 0.
        to_canvas: Affine map from (x, y, 1) in px to periods of the canvas.
        to_waves: Affine map from (x, y, 1) in px to the phases of both waves in rad.
        x, y: Coordinates in px, broadcast to (scenes, frames, 2, h, w).

    Returns:
        RGB, 0..255: a continuous function of the surface point, the same for whichever frame it is asked.
    """
    octaves = _sample(canvas, to_canvas, x, y)
    colour = torch.baddbmm(base[..., None], palette[..., :-1], octaves.flatten(2)).unflatten(2, octaves.shape[2:])
    if any(used):
        mixed = _mixture(pattern, used, octaves[:, 0], to_waves, x, y)
        colour += palette[..., -1, None, None, None] * mixed[:, None]
    return colour.clamp_(0, 255)


def _mixture(
    pattern: Float32[Tensor, "scenes 6"],
    used: Sequence[bool],
    noise: Float[Tensor, "scenes frames h w"],
    to_waves: Float32[Tensor, "scenes frames 2 3"],
    x: Float[Tensor, "*#x"],
    y: Float[Tensor, "*#y"],
) -> Float[Tensor, "scenes frames h w"]:
    """The pattern at each point, -1..1."""
    of_a, of_b, of_both, constant, of_noise, bend = pattern[..., None, None, None].unbind(1)
    mixed = torch.zeros_like(noise)
    if used[0] or used[1] or used[2]:
        phases = affine(to_waves, x, y)
        if used[5]:
            phases += (bend * noise)[:, :, None]
        a, b = phases.sin_().unbind(2)
        for weight, wave, needed in ((of_a, a, used[0]), (of_b, b, used[1]), (of_both, (a, b), used[2])):
            if needed:
                mixed.addcmul_(weight, wave[0] * wave[1] if isinstance(wave, tuple) else wave)
    if used[3]:
        mixed += constant
    if used[4]:
        mixed.addcmul_(of_noise, noise)
    return mixed.clamp_(-1, 1)


def _rows(*rows: list[Float64[np.ndarray, "scenes layers"]]) -> Float64[np.ndarray, "scenes layers 2 3"]:
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


@lru_cache(maxsize=32)
def _between(samples: int, refined: int) -> Float32[Tensor, "{refined} {samples}"]:
    """The matrix that doubles the samples of periodic cubic B-splines until there are `refined`."""
    values = torch.eye(samples)[None, None]
    while values.shape[2] < refined:
        values = _refine(values, 2)
    return values[0, 0]


def _refine(values: Float32[Tensor, "scenes c n m"], axis: int) -> Float32[Tensor, "scenes c ..."]:
    """Double the samples along an axis (2 or 3) of periodic cubic B-splines."""
    # The subdivision rule (1 6 1)/8 at the old samples and (1 1)/2 halfway.
    count = values.shape[axis]
    around = torch.cat([values.narrow(axis, count - 1, 1), values, values.narrow(axis, 0, 1)], dim=axis)
    halfway = (around.narrow(axis, 0, count + 1) + around.narrow(axis, 1, count + 1)).mul_(0.5)
    before, after = halfway.narrow(axis, 0, count), halfway.narrow(axis, 1, count)
    refined = torch.stack([values, after], dim=axis + 1)
    refined.select(axis + 1, 0).mul_(0.5).add_(before, alpha=0.25).add_(after, alpha=0.25)
    return refined.flatten(axis, axis + 1)


def _sample(
    canvas: Float32[Tensor, "scenes octaves side side"],
    to_canvas: Float32[Tensor, "scenes frames 2 3"],
    x: Float[Tensor, "*#x"],
    y: Float[Tensor, "*#y"],
) -> Float[Tensor, "scenes octaves frames h w"]:
    """Bilinear interpolation of the periodic canvas."""
    points = affine(to_canvas, x, y)
    scenes, frames, _, height, width = points.shape
    grid = torch.empty(scenes, frames, height, width, 2, device=points.device)
    # Plane by plane, for torch is slow to interleave them at once.
    for axis in range(2):
        torch.sub(points[:, :, axis], points[:, :, axis].round(), out=grid[..., axis])
    # The canvas ends with a copy of its first row and column, so that -1..1 with aligned corners is one period.
    # The frames of a scene share its canvas, as one tall picture.
    octaves = functional.grid_sample(canvas, grid.mul_(2).view(scenes, -1, width, 2), align_corners=True)
    return octaves.view(scenes, -1, frames, height, width)
