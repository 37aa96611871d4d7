"""Synthetic recordings, made by formula: shapes that cross the lattice, and fronts whose times are known exactly."""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float32, Float64
from pydantic import Field

from rwtl.errors import InputError
from rwtl.sections import Ascending, Count, NotNegative, Positive, Share, Unfit, section
from rwtl.waves.config import SYNTHETIC_VERSION, SyntheticConfig
from rwtl.waves.store import write_whole

Kind = Literal["disc", "bar", "square"]
KINDS = get_args(Kind)
_BAR_WIDTH = 0.25  # of its length


_Range = Annotated[list[Positive], Ascending(equal=True)]


@section("recording")
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

    kinds: Annotated[list[Kind], Field(min_length=1)] = field(default_factory=lambda: list(KINDS))
    interval: Positive = 4.0
    size: _Range = field(default_factory=lambda: [6.0, 16.0])
    speed: _Range = field(default_factory=lambda: [1.5, 3.5])
    peak: _Range = field(default_factory=lambda: [400.0, 640.0])
    rest: Positive = 100.0
    edge: Positive = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.peak[0] <= self.rest:
            raise Unfit(f"peak is {self.peak} nM; it must be above rest, {self.rest} nM")


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


@section("recording")
class FrontsConfig(SyntheticConfig):
    """Waves one after the other, each a plane front from border to border, or rings that annihilate where they meet.

    The defaults of rise, fall, rest and peak are near to the waves of the preset `rings`: calcium rises from 104 to
    600 nM within 1.4 s, is half way down 3 s after the onset, and back at rest after 4.5 s.

    Attributes:
        planes: share of the waves that are plane fronts; the others are rings.
        origins: fewest and most origins of a wave of rings; each begins at a place and within a delay of its own.
        delay: s, the longest, of an origin after the first of its wave.
        speed: range, sites/s; all fronts of a wave have the same.
        interval: s from the beginning of one wave to that of the next, at least.
        refractory: s for which a site is not reached again; a wave that would reach one earlier begins later.
        rest, peak: calcium, nM.
        rise: s from the arrival of a front to the peak.
        fall: s from the peak back to rest.

    Raises:
        InputError: a value is out of range.
    """

    planes: Share = 0.5
    origins: Annotated[list[Count], Ascending(equal=True)] = field(default_factory=lambda: [1, 3])
    delay: NotNegative = 8.0
    speed: _Range = field(default_factory=lambda: [1.5, 3.5])
    interval: Positive = 20.0
    refractory: Positive = 15.0
    rest: Positive = 100.0
    peak: Positive = 620.0
    rise: Positive = 1.5
    fall: Positive = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.peak <= self.rest:
            raise Unfit(f"peak is {self.peak} nM; it must be above rest, {self.rest} nM")
        if self.refractory < self.rise + self.fall:
            raise Unfit(
                f"refractory is {self.refractory} s; it must be no shorter than rise + fall, "
                f"{self.rise + self.fall:g} s"
            )


@dataclass(frozen=True)
class Front:
    """One wave, over the whole lattice.

    Attributes:
        time: when it comes to each site, s of the recording's time; before 0 or after the end it is not seen.
        velocity: of the front, normal to it, at each site: to the right and down, sites/s. Its direction jumps where
            rings meet, and at their origins.
    """

    time: Float64[np.ndarray, "row column"]
    velocity: Float64[np.ndarray, "2 row column"]


def front_times(config: FrontsConfig, level: float = 200.0) -> list[Front]:
    """The waves of a recording with the exact times at which the calcium of each site rises through `level` (nM).

    Raises:
        InputError: calcium never rises through it.
    """
    if not config.rest <= level < config.peak:
        raise InputError(f"the level is {level} nM: calcium rises from {config.rest} to {config.peak} nM")
    after = 2 * config.rise / math.pi * math.asin((level - config.rest) / (config.peak - config.rest))
    return [Front(front.time + after, front.velocity) for front in arrivals(config)]


def arrivals(config: FrontsConfig) -> list[Front]:
    """The waves of a recording with the times at which calcium begins to rise, in order.

    What wave n looks like is a function of (seed, n). They begin long before time 0, so that the recording has no
    beginning.
    """
    earliest = -(config.diagonal / config.speed[0] + config.interval)
    fronts: list[Front] = []
    while earliest < config.duration:
        rng = np.random.default_rng([config.seed, len(fronts)])
        wave = _plane(config, rng) if rng.random() < config.planes else _rings(config, rng)
        begin = earliest
        if fronts:
            begin = max(begin, float((fronts[-1].time - wave.time).max()) + config.refractory)
        fronts.append(Front(wave.time + begin, wave.velocity))
        earliest = begin + config.interval
    return fronts


def _plane(config: FrontsConfig, rng: np.random.Generator) -> Front:
    """A plane front that comes to the first site of the lattice at time 0."""
    angle, speed = rng.uniform(0, 2 * math.pi), rng.uniform(*config.speed)
    rows, columns = np.mgrid[: config.rows, : config.columns].astype(float)
    along = columns * math.cos(angle) + rows * math.sin(angle)
    velocity = speed * np.array([math.cos(angle), math.sin(angle)])
    shape = (2, config.rows, config.columns)
    return Front((along - along.min()) / speed, np.broadcast_to(velocity[:, None, None], shape).copy())


def _rings(config: FrontsConfig, rng: np.random.Generator) -> Front:
    """Rings of which the first begins at time 0; each site belongs to the one that is there first."""
    speed, count = rng.uniform(*config.speed), int(rng.integers(config.origins[0], config.origins[1] + 1))
    places = rng.uniform(0, (config.columns - 1, config.rows - 1), (count, 2))
    delays = np.concatenate([[0.0], rng.uniform(0, config.delay, count - 1)])
    rows, columns = np.mgrid[: config.rows, : config.columns].astype(float)
    away = np.stack([columns, rows])[None] - places[:, :, None, None]
    distance = np.hypot(away[:, 0], away[:, 1])
    time = delays[:, None, None] + distance / speed
    first = time.argmin(axis=0)[None]
    along = np.take_along_axis(away, first[:, None], axis=0)[0]
    away_from_origin = np.take_along_axis(distance, first, axis=0).clip(min=1e-9)  # no direction at the origin itself
    return Front(time.min(axis=0), speed * along / away_from_origin)


def fronts(config: FrontsConfig) -> Iterator[Float32[np.ndarray, "row column"]]:
    """The frames of a recording, calcium in nM."""
    waves = [wave.time for wave in arrivals(config)]
    spans = [(time.min(), time.max() + config.rise + config.fall) for time in waves]
    for frame in range(config.recorded_frames):
        time = frame * config.frame_interval
        share = np.zeros((config.rows, config.columns))
        for wave, (begin, end) in zip(waves, spans, strict=True):
            if begin <= time <= end:  # a site is back at rest before the next wave comes: nothing is added twice
                share += _course(time - wave, config)
        yield (config.rest + (config.peak - config.rest) * share).astype(np.float32)


def _course(after: Float64[np.ndarray, "row column"], config: FrontsConfig) -> Float64[np.ndarray, "row column"]:
    """Share of the peak so many seconds after the front: a fast rise that slows down, then half a cosine."""
    rising = np.sin(np.pi / 2 * after.clip(0, config.rise) / config.rise)
    falling = (1 + np.cos(np.pi * (after - config.rise).clip(0, config.fall) / config.fall)) / 2
    return np.where(after < config.rise, rising, falling)


class Generator(NamedTuple):
    """How one kind is configured, and what makes the frames (calcium, nM) of a configuration."""

    config: type[SyntheticConfig]
    frames: Callable[..., Iterator[Float32[np.ndarray, "row column"]]]


GENERATORS = {
    "moving_shapes": Generator(MovingShapesConfig, moving_shapes),
    "fronts": Generator(FrontsConfig, fronts),
}


def kind_of(config: SyntheticConfig) -> str:
    """Return the name of the kind that a configuration is of."""
    return next(kind for kind, generator in GENERATORS.items() if type(config) is generator.config)


def write_synthetic(config: SyntheticConfig, path: Path, progress: Callable[[float], None] | None = None) -> None:
    """Write a synthetic recording; nothing is at `path` before it is complete.

    Args:
        config: of one of GENERATORS.
        path: of the recording, a Zarr group like that of a simulated one; its attributes hold `generator_version` in
            place of the model's, and its configuration the `kind`.
        progress: called after every frame with how many have been made.

    Raises:
        InputError: something is at `path`, or the disk is too small for it.
    """
    kind = kind_of(config)
    attributes = {
        "frame_interval": config.frame_interval,
        "first_frame_time": 0.0,
        "spacing": config.spacing,
        "seed": config.seed,
        "config": {"kind": kind, **asdict(config)},
        "generator_version": SYNTHETIC_VERSION,
    }
    shape = (config.recorded_frames, config.rows, config.columns)
    write_whole(path, GENERATORS[kind].frames(config), shape, attributes, progress)
