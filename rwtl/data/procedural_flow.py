"""Pairs of frames with exact optical flow, made on the fly: nothing to download, no end of samples.

In the manner of FlyingChairs (Dosovitskiy et al., "FlowNet", ICCV 2015): shapes over a background, each under an
affine motion, with those of the shapes added to that of the background, and displacements drawn as powers of Gaussians,
so that most are short and a few are long.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32, Float64, Int64
from torch.utils.data import Dataset

from rwtl.data.flow_sample import FlowSample, dense_sample
from rwtl.data.procedural_shape import outline_cover, random_outline
from rwtl.data.procedural_texture import Texture, affine, evaluate_texture, noise_canvas, random_texture
from rwtl.errors import InputError

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class _Layer:
    """One surface: the background where it has no outline, else a shape."""

    centre: Float64[np.ndarray, "2"]  # x, y in frame 1, px; surface coordinates are relative to it
    motion: Float64[np.ndarray, "3 3"]  # from frame 1 to frame 2, homogeneous, px
    texture: Texture
    outline: Float32[np.ndarray, "angles"] | None  # distance from the centre to the edge by direction, px


class ProceduralFlow(Dataset[FlowSample]):
    """Textured shapes that move over a textured background, with the exact flow of every pixel of the first frame.

    A scene is a function of `seed`, `split` and its index alone, whatever the worker or the order. Flow is that of the
    surface seen in the first frame, also where the second frame hides it or it has left the frame.

    Args:
        size: Number of scenes, at least 1.
        height: Height of the frames in px, at least 16.
        width: Width of the frames in px, at least 16.
        split: Scenes of different splits share no randomness.
        seed: 0 or more; another seed gives other scenes.
        mean_displacement: Mean length of the flow in px over the pixels of many scenes with the usual shapes and
            deformation, above 0 and at most a quarter of the shorter side; single displacements reach about nine times
            that.
        shapes: Most shapes in a scene, 0 or more; each scene has at least half as many.
        deformation: Rotation, zoom and shear in relation to translation, 0 or more: 1 is usual, 0 is translation only.
        tail: Power of the Gaussians that displacements are drawn as, 1 or more: 1 gives few very short and very long
            displacements, 2 (usual) many short and a few long ones.

    Raises:
        InputError: An argument lies outside its range.
        IndexError: The index lies outside 0..size-1.
    """

    def __init__(
        self,
        size: int,
        height: int = 96,
        width: int = 128,
        split: Split = "train",
        seed: int = 0,
        mean_displacement: float = 4.0,
        shapes: int = 8,
        deformation: float = 1.0,
        tail: float = 2.0,
    ) -> None:
        limits = {"size": (size, 1), "height": (height, 16), "width": (width, 16), "seed": (seed, 0)}
        limits |= {"shapes": (shapes, 0), "deformation": (deformation, 0), "tail": (tail, 1)}
        for name, (value, least) in limits.items():
            if not value >= least:
                raise InputError(f"procedural flow: {name}={value} must be at least {least}.")
        if not 0 < mean_displacement <= min(height, width) / 4:
            raise InputError(
                f"procedural flow: mean_displacement={mean_displacement} px must be above 0 and at most "
                f"{min(height, width) / 4} px, a quarter of the shorter side of {height}x{width} px (height x width)."
            )
        if split not in get_args(Split):
            raise InputError(f"procedural flow: split={split!r} must be one of {', '.join(get_args(Split))}.")
        self.size = size
        self.height = height
        self.width = width
        self.split = split
        self.seed = seed
        self.mean_displacement = mean_displacement
        self.shapes = shapes
        self.deformation = deformation
        self.tail = tail

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> FlowSample:
        if not 0 <= index < self.size:
            raise IndexError(f"scene {index} of {self.size}")
        # The generator advances the first word of its counter: scenes that differ in the last one never overlap.
        key = [self.seed, get_args(Split).index(self.split)]
        rng = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, index]))
        canvas = noise_canvas(rng, max(self.height, self.width))
        layers = self._draw_layers(rng)
        motions = np.stack([layer.motion for layer in layers])
        still = np.broadcast_to(np.eye(3), motions.shape)
        image1, shown = _render(layers, still, canvas, self.height, self.width)
        image2, _ = _render(layers, motions, canvas, self.height, self.width)
        return dense_sample(image1, image2, _flow(motions, shown))

    def _draw_layers(self, rng: np.random.Generator) -> list[_Layer]:
        """The background, then the shapes from the farthest to the nearest."""
        frame = np.array([self.width, self.height])
        extent = np.sqrt(self.width * self.height)
        # 0.41: measured, so that mean_displacement is what its name says with the other arguments as they are.
        step = 0.41 * self.mean_displacement
        bend = self.deformation * self.mean_displacement / extent
        background = _random_motion(rng, (frame - 1) / 2, step, 0.5 * bend, self.tail)
        layers = [_Layer((frame - 1) / 2, background, random_texture(rng), None)]
        for _ in range(rng.integers((self.shapes + 1) // 2, self.shapes + 1)):
            # Some centres lie outside: shapes then enter or leave the frame.
            centre = frame * rng.uniform(-0.05, 1.05, 2)
            radius = extent * np.exp(rng.uniform(np.log(0.07), np.log(0.28)))
            motion = background @ _random_motion(rng, centre, 2.2 * step, 2 * bend, self.tail)
            layers.append(_Layer(centre, motion, random_texture(rng), random_outline(rng, radius)))
        return layers


def _random_motion(
    rng: np.random.Generator, centre: Float64[np.ndarray, "2"], step: float, bend: float, tail: float
) -> Float64[np.ndarray, "3 3"]:
    """Draw a translation of about `step` px, and a rotation, zoom and shear of about `bend` about the centre."""
    gaussian = np.clip(rng.standard_normal(6), -2.5, 2.5)
    mean = 2 ** (tail / 2) * math.gamma((tail + 1) / 2) / math.sqrt(math.pi)  # of the power of a Gaussian's magnitude
    shift_x, shift_y, angle, zoom, stretch, shear = gaussian * np.abs(gaussian) ** (tail - 1) / mean
    angle, zoom, stretch, shear = bend * angle, 0.5 * bend * zoom, 0.2 * bend * stretch, 0.2 * bend * shear
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.array([[np.exp(zoom + stretch), shear], [0, np.exp(zoom - stretch)]])
    motion = np.eye(3)
    motion[:2, :2] = linear
    motion[:2, 2] = centre - linear @ centre + step * np.array([shift_x, shift_y])
    return motion


def _render(
    layers: list[_Layer],
    poses: Float64[np.ndarray, "layers 3 3"],
    canvas: Float32[np.ndarray, "octaves side side"],
    height: int,
    width: int,
) -> tuple[Float32[np.ndarray, "3 {height} {width}"], Int64[np.ndarray, "{height} {width}"]]:
    """Paint a frame from back to front, each layer moved by its pose; also say which layer each pixel shows."""
    image = np.empty((3, height, width), np.float32)
    shown = np.zeros((height, width), np.int64)
    for index, (layer, pose, to_surface) in enumerate(zip(layers, poses, np.linalg.inv(poses), strict=True)):
        to_surface[:2, 2] -= layer.centre
        if layer.outline is None:
            image[:] = evaluate_texture(layer.texture, canvas, to_surface, *_axes(0, width, 0, height))
            continue
        left, right, top, bottom = _bounds(layer, pose, height, width)
        if left >= right or top >= bottom:
            continue  # the shape lies outside this frame
        axes = _axes(left, right, top, bottom)
        cover = outline_cover(layer.outline, *affine(to_surface[:2], *axes))
        painted = image[:, top:bottom, left:right]
        painted += cover * (evaluate_texture(layer.texture, canvas, to_surface, *axes) - painted)
        shown[top:bottom, left:right][cover >= 0.5] = index
    return image, shown


def _axes(
    left: int, right: int, top: int, bottom: int
) -> tuple[Float32[np.ndarray, "{right}-{left}"], Float32[np.ndarray, "{bottom}-{top}"]]:
    return np.arange(left, right, dtype=np.float32), np.arange(top, bottom, dtype=np.float32)


def _bounds(layer: _Layer, pose: Float64[np.ndarray, "3 3"], height: int, width: int) -> tuple[int, int, int, int]:
    """Left, right, top and bottom of the part of a frame that a shape can touch; right and bottom are exclusive."""
    radius = float(layer.outline.max()) + 1
    centre_x, centre_y = layer.centre
    limits = []
    for (a, b, c), size in zip(pose[:2].tolist(), (width, height), strict=True):
        # The image of a disc is an ellipse that reaches as far along an axis as the norm of that axis' row.
        middle, reach = a * centre_x + b * centre_y + c, radius * math.hypot(a, b)
        limits += [max(0, math.floor(middle - reach)), min(size, math.ceil(middle + reach) + 1)]
    return tuple(limits)


def _flow(motions: Float64[np.ndarray, "layers 3 3"], shown: Int64[np.ndarray, "h w"]) -> Float32[np.ndarray, "2 h w"]:
    """The displacement of each pixel of the first frame by the motion of the layer that it shows."""
    height, width = shown.shape
    x, y = _axes(0, width, 0, height)
    coefficients = (motions - np.eye(3))[:, :2].reshape(-1, 6).T.astype(np.float32)
    a, b, c, d, e, f = (row.take(shown) for row in coefficients)
    y = y[:, None]
    return np.stack([a * x + b * y + c, d * x + e * y + f])
