"""Discs, bars and squares of calcium that cross the lattice at constant velocities: motion without waves."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Float64

from rwtl.errors import InputError
from rwtl.waves.synthetic_config import SyntheticConfig

KINDS = ("disc", "bar", "square")
_BAR_WIDTH = 0.25  # of its length


@dataclass
class MovingShapesConfig(SyntheticConfig):
    """Shapes that enter the lattice, cross it in any direction and leave it, as many in every direction.

    Attributes:
        kinds: of the shapes, each as likely as the others: `disc`, `bar`, `square`.
        interval: s from one shape to the next, in the mean.
        size: range of the diameter of a disc, the side of a square and the length of a bar, in sites.
        speed: range, sites/s.
        peak: range of the calcium within shapes, nM.
        rest: calcium around them, nM.
        edge: sites over which calcium rises from rest to peak.

    Raises:
        InputError: a value is out of range.
    """

    kinds: list[str] = field(default_factory=lambda: list(KINDS))
    interval: float = 4.0
    size: list[float] = field(default_factory=lambda: [6.0, 16.0])
    speed: list[float] = field(default_factory=lambda: [1.5, 3.5])
    peak: list[float] = field(default_factory=lambda: [400.0, 640.0])
    rest: float = 100.0
    edge: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.kinds or not set(self.kinds) <= set(KINDS):
            raise InputError(f"recording.kinds is {list(self.kinds)}: it must be some of {', '.join(KINDS)}")
        for name in ("interval", "rest", "edge"):
            self.require_positive(name)
        for name, above in (("size", 0.0), ("speed", 0.0), ("peak", self.rest)):
            self.require_range(name, above)


@dataclass(frozen=True)
class Shape:
    """One shape. Positions in sites, x to the right and y down, from the site of row 0 and column 0.

    Attributes:
        kind: of KINDS.
        size: in sites, of its longest side, or its diameter.
        turned: of its sides against the rows, radians.
        peak: nM.
        time: s, when its centre is at `centre`.
        centre: the place of its path that is nearest to the middle of the lattice.
        velocity: sites/s.
        reach: of its path to both sides of `centre`, in sites: beyond, it is off the lattice.
    """

    kind: str
    size: float
    turned: float
    peak: float
    time: float
    centre: tuple[float, float]
    velocity: tuple[float, float]
    reach: float

    def is_near(self, time: float) -> bool:
        """Whether any of it may be on the lattice."""
        return abs(time - self.time) * math.hypot(*self.velocity) <= self.reach

    def position(self, time: float) -> tuple[float, float]:
        """Of its centre."""
        return tuple(at + v * (time - self.time) for at, v in zip(self.centre, self.velocity, strict=True))


def shapes_of(config: MovingShapesConfig) -> list[Shape]:
    """All shapes that are on the lattice at some time of the recording, and some that miss it.

    Shape n is a function of (seed, n): its path has a direction and a distance from the middle of the lattice, both
    evenly distributed, and it is nearest to the middle once in the n-th interval.
    """
    farthest = (config.diagonal + math.sqrt(2) * config.size[1] + config.edge) / 2
    early = math.ceil(farthest / config.speed[0] / config.interval)  # shapes on the lattice before time 0 passed it
    count = early + math.ceil(config.duration / config.interval) + early
    return [_shape(config, number, (number - early) * config.interval, farthest) for number in range(count)]


def _shape(config: MovingShapesConfig, number: int, begin: float, farthest: float) -> Shape:
    rng = np.random.default_rng([config.seed, number])
    angle, turned = rng.uniform(0, 2 * math.pi, 2)
    offset = rng.uniform(-farthest, farthest)
    speed, size, peak = (rng.uniform(*limits) for limits in (config.speed, config.size, config.peak))
    x, y = math.cos(angle), math.sin(angle)
    return Shape(
        kind=config.kinds[rng.integers(len(config.kinds))],
        size=size,
        turned=turned,
        peak=peak,
        time=begin + config.interval * rng.random(),
        centre=((config.columns - 1) / 2 - offset * y, (config.rows - 1) / 2 + offset * x),
        velocity=(speed * x, speed * y),
        reach=math.sqrt(farthest**2 - offset**2),
    )


def moving_shapes(config: MovingShapesConfig) -> Iterator[Float32[np.ndarray, "row column"]]:
    """The frames of a recording, calcium in nM. Where shapes overlap, the higher calcium counts."""
    shapes = shapes_of(config)
    for frame in range(config.recorded_frames):
        time = frame * config.frame_interval
        calcium = np.full((config.rows, config.columns), config.rest, np.float32)
        for shape in shapes:
            if shape.is_near(time):
                _draw(calcium, shape, time, config)
        yield calcium


def _draw(calcium: Float32[np.ndarray, "row column"], shape: Shape, time: float, config: MovingShapesConfig) -> None:
    """Raise the calcium of the sites around a shape to its own, in place."""
    x, y = shape.position(time)
    around = (math.sqrt(2) * shape.size + config.edge) / 2
    (top, bottom), (left, right) = (
        (max(0, math.ceil(at - around)), max(0, math.floor(at + around) + 1)) for at in (y, x)
    )
    part = calcium[top:bottom, left:right]
    if part.size:
        rows, columns = np.ogrid[top : top + part.shape[0], left : left + part.shape[1]]
        inside = 0.5 - _beyond(shape, columns - x, rows - y) / config.edge
        # Smooth on both sides of the edge: 3t² - 2t³.
        inside = inside.clip(0, 1)
        share = inside**2 * (3 - 2 * inside)
        np.maximum(part, (config.rest + (shape.peak - config.rest) * share).astype(np.float32), out=part)


def _beyond(
    shape: Shape, x: Float64[np.ndarray, "1 column"], y: Float64[np.ndarray, "row 1"]
) -> Float64[np.ndarray, "row column"]:
    """How far places, relative to a shape's centre, lie outside of its border, in sites; negative inside."""
    if shape.kind == "disc":
        return np.hypot(x, y) - shape.size / 2
    along = np.abs(x * math.cos(shape.turned) + y * math.sin(shape.turned))
    across = np.abs(y * math.cos(shape.turned) - x * math.sin(shape.turned))
    width = shape.size * (_BAR_WIDTH if shape.kind == "bar" else 1.0)
    return np.maximum(along - shape.size / 2, across - width / 2)
