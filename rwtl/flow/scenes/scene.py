"""Random scenes: a textured background and shapes before it, each with its motion, as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

from rwtl.flow.scenes.elements import random_affine, random_light, random_outlines, random_waves, reach_and_iterations
from rwtl.flow.scenes.texture import canvas_values, random_textures
from rwtl.random import Draws

# Measured, so that the mean displacement is what it is called with the usual arguments.
_STEP = 0.38
_SHAPES_STEP = 2.2  # of shapes, in relation to the usual background
_SHAPES_SHARE = 0.21  # of the pixels


@dataclass
class Layer:
    """One layer of each of many scenes, from the farthest (0, the background) to the nearest.

    The frames have axis 1. Matrices map (x, y, 1) in px; where there is non-rigid motion, those to the surface, canvas
    and waves start from time 0, else from the frame itself.

    Attributes:
        box: Left, right, top and bottom of the part of the frames that the layer touches in any scene; right and bottom
            are exclusive.
        iterations: Needed to undo the non-rigid motion; None where all motion is rigid.
        used: For each value of `pattern`, whether any scene has one other than 0.
        flow: From a point of any frame to its affine displacement to the next.
        to_surface: To px from the layer's centre.
        to_canvas, to_waves: To places on the canvas and phases of the pattern; see `evaluate_texture`.
        outline: See `random_outlines`.
        base, palette, pattern: See `Textures`.
        back: From a frame to the one before, by the affine motion; None, like the next two, where all motion is rigid.
        vectors, amplitudes: The non-rigid displacement, which comes before the affine motion; see `random_waves`.
    """

    box: tuple[int, int, int, int]
    iterations: int | None
    used: list[bool]
    flow: Float32[Tensor, "scenes 2 3"]
    to_surface: Float32[Tensor, "scenes frames 2 3"]
    to_canvas: Float32[Tensor, "scenes frames 2 3"]
    to_waves: Float32[Tensor, "scenes frames 2 3"]
    outline: Float32[Tensor, "scenes angles"]
    base: Float32[Tensor, "scenes 3"]
    palette: Float32[Tensor, "scenes 3 components"]
    pattern: Float32[Tensor, "scenes 6"]
    back: Float32[Tensor, "scenes 2 3"] | None = None
    vectors: Float32[Tensor, "scenes waves 3"] | None = None
    amplitudes: Float32[Tensor, "scenes 2 waves"] | None = None


@dataclass
class Scenes:
    """Many scenes as numbers, on the device where they are to be rendered.

    Attributes:
        height, width: Of the frames in px.
        times: Numbers of the frames to be rendered.
        layers: From the farthest to the nearest; a scene that has fewer is not covered by the last ones.
        canvas: See `canvas_values`.
        light: See `random_light`; None where the light does not change.
        noise: Standard deviation of the sensor's noise, on the scale 0..255.
        noise_keys: What the noise is a function of.
    """

    height: int
    width: int
    times: Sequence[int]
    layers: list[Layer]
    canvas: list[Float32[Tensor, "scenes _ _"]]
    light: tuple[Float32[Tensor, "scenes 3 frames"], ...] | None
    noise: float
    noise_keys: Int64[Tensor, "scenes 2"]


def draw_scenes(
    draws: Draws,
    device: torch.device | str,
    *,
    height: int,
    width: int,
    mean_displacement: float,
    shapes: int,
    deformation: float,
    tail: float,
    background_motion: float,
    nonrigid: float,
    textures: Sequence[str],
    contrast: float,
    photometric: float,
    noise: float,
    times: Sequence[int] = (0, 1),
) -> Scenes:
    """Draw scenes to be rendered at times of 0 or more, in rising order; other arguments are those of ProceduralFlow.

    Frames at times 0 and 1 are the pair. All later ones continue its motion, each in a light of its own.
    """
    frame, extent = np.array([width, height]), np.sqrt(width * height)
    number = draws.uniform(1)[0, :, 0]
    # At least half of the shapes; layers that are not there have no outline.
    least = (shapes + 1) // 2
    present = np.arange(shapes + 1) <= (least + np.floor((shapes - least + 1) * number))[:, None]
    # Some centres lie outside: shapes then enter or leave the frame.
    centre = frame * (-0.05 + 1.1 * draws.uniform(2).transpose(1, 2, 0))
    centre[:, 0] = (frame - 1) / 2
    radius = np.where(present, extent * 0.07 * 4.0 ** draws.uniform(1)[0], 0.0)
    radius[:, 0] = 0.0
    outline = random_outlines(draws, radius)

    relative = np.full(shapes + 1, _SHAPES_STEP)
    relative[0] = background_motion
    step = _step(mean_displacement, background_motion) * relative
    bend = np.full(shapes + 1, 2.0 * deformation * mean_displacement / extent)
    bend[0] *= 0.25 * background_motion
    motion = random_affine(draws, centre, step, bend, tail)
    motion[:, 1:] = motion[:, :1] @ motion[:, 1:]  # the background carries the shapes along
    back = np.linalg.inv(motion)

    values = canvas_values(draws, max(height, width))
    textured = random_textures(draws, textures, contrast, values[-1].shape[-1] * 2)
    # What is the whole scene's comes from its first layer's values, taken whether or not they are needed, so that no
    # parameter changes what the others do.
    keys, of_light = np.floor(draws.uniform(2)[..., 0].T * 2**32).astype(np.int64), draws.normal(12)[..., 0]

    # From each frame to time 0; non-rigid motion is undone step by step instead, when a frame is painted.
    shift = np.stack([np.linalg.matrix_power(back, 0 if nonrigid else time) for time in times], axis=2)
    iterations, reach, waves = [None] * (shapes + 1), 0.0, {}
    if nonrigid:
        size = np.where(present, 4 * radius, 1.0)
        size[:, 0] = extent
        vectors, amplitudes = random_waves(draws, size, nonrigid * step * present, tail)
        reach, iterations = reach_and_iterations(vectors, amplitudes)
        waves = {"back": back[..., :2, :], "vectors": vectors, "amplitudes": amplitudes}
    shift[..., :2, 2] -= centre[:, :, None]
    fields = waves | {
        "flow": (motion - np.eye(3))[..., :2, :],
        "to_surface": shift[..., :2, :],
        "to_canvas": textured.placement[:, :, None] @ shift,
        "to_waves": textured.waves[:, :, None] @ shift,
        "outline": outline,
        "base": textured.base,
        "palette": textured.palette,
        "pattern": textured.pattern,
    }
    moved = {name: _tensor(array, device).unbind(1) for name, array in fields.items()}
    reached = np.where(radius > 0, radius + 1, 0)
    light = _light(of_light, draws, times, photometric) if photometric > 0 else None
    boxes = _boxes(centre, reached, reach, motion, times, height, width)
    boxes[0] = (0, width, 0, height)
    used = (textured.pattern != 0).any(axis=0).tolist()
    layers = []
    for depth in range(int(present.sum(axis=1).max())):
        tensors = {name: parts[depth] for name, parts in moved.items()}
        layers.append(Layer(tuple(boxes[depth]), iterations[depth], used[depth], **tensors))
    return Scenes(
        height=height,
        width=width,
        times=times,
        layers=layers,
        canvas=[_tensor(array, device) for array in values],
        light=light and tuple(_tensor(array, device) for array in light),
        noise=noise,
        noise_keys=torch.from_numpy(keys).to(device),
    )


def _step(mean_displacement: float, background_motion: float) -> float:
    """Return the mean translation that gives a mean displacement, whatever part of it is the background's."""

    def relative_mean(background: float) -> float:
        shapes = np.hypot(background, _SHAPES_STEP)
        return (1 - _SHAPES_SHARE) * background + _SHAPES_SHARE * shapes

    return _STEP * mean_displacement * relative_mean(1.0) / relative_mean(background_motion)


def _light(
    of_pair: Float64[np.ndarray, "12 scenes"], draws: Draws, times: Sequence[int], photometric: float
) -> tuple[Float64[np.ndarray, "scenes 3 frames"], ...]:
    scenes = of_pair.shape[1]
    # Frame by frame, so that a frame's light is the same whatever other frames are asked for.
    of_later = draws.field(6 * max(0, max(times) - 1)).reshape(scenes, -1, 6).transpose(2, 1, 0)
    values = np.concatenate([of_pair.reshape(6, 2, scenes), of_later], axis=1)
    return random_light(values[:, list(times)].reshape(-1, scenes), photometric)


def _tensor(array: np.ndarray, device: torch.device | str) -> Float32[Tensor, "..."]:
    return torch.from_numpy(array.astype(np.float32)).to(device, non_blocking=True)


def _boxes(
    centre: Float64[np.ndarray, "scenes layers 2"],
    radius: Float64[np.ndarray, "scenes layers"],
    reach: Float64[np.ndarray, "scenes layers"] | float,
    motion: Float64[np.ndarray, "scenes layers 3 3"],
    times: Sequence[int],
    height: int,
    width: int,
) -> list[list[int]]:
    """Return the part of the frames that each layer can touch in any scene; empty where no scene has it."""
    boxes = []
    for axis, size in enumerate((width, height)):
        low, high = np.inf, -np.inf
        stretches = []  # by number of motions
        for time in range(max(times) + 1):
            row = np.linalg.matrix_power(motion, time)[..., axis, :]
            middle = row[..., 0] * centre[..., 0] + row[..., 1] * centre[..., 1] + row[..., 2]
            # The image of a disc is an ellipse that reaches as far along an axis as the norm of that axis' row.
            stretches.append(np.hypot(row[..., 0], row[..., 1]))
            # Each motion moves the points by `reach` first, and the motions to come stretch that.
            reached = (radius + (reach if time else 0)) * stretches[-1] + reach * sum(stretches[1:-1])
            if time in times:
                low, high = np.minimum(low, middle - reached), np.maximum(high, middle + reached)
        low = np.where(radius > 0, low, np.inf).min(axis=0)
        high = np.where(radius > 0, high, -np.inf).max(axis=0)
        boxes += [np.floor(low).clip(0, size), (np.ceil(high) + 1).clip(0, size)]
    return np.array(boxes).T.astype(int).tolist()
