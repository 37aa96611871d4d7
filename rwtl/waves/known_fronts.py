"""Plane and ring fronts of known speed: waves whose onset times and velocities are known exactly."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Float64

from rwtl.errors import InputError
from rwtl.waves.synthetic_config import SyntheticConfig


@dataclass
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

    planes: float = 0.5
    origins: list[int] = field(default_factory=lambda: [1, 3])
    delay: float = 8.0
    speed: list[float] = field(default_factory=lambda: [1.5, 3.5])
    interval: float = 20.0
    refractory: float = 15.0
    rest: float = 100.0
    peak: float = 620.0
    rise: float = 1.5
    fall: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("interval", "rest", "rise", "fall"):
            self.require_positive(name)
        self.require_range("speed", 0.0)
        self.require_range("origins", 0.0)
        if not 0 <= self.planes <= 1:
            raise InputError(f"recording.planes is {self.planes}: it must lie in 0 to 1")
        if not 0 <= self.delay < float("inf"):
            raise InputError(f"recording.delay is {self.delay} s: it must be finite and not negative")
        if not self.rest < self.peak < float("inf"):
            raise InputError(
                f"recording.peak is {self.peak} nM: it must be finite and above recording.rest, {self.rest}"
            )
        if not self.rise + self.fall <= self.refractory < float("inf"):
            raise InputError(
                f"recording.refractory is {self.refractory} s: it must be finite, and no shorter than recording.rise + "
                f"recording.fall, {self.rise + self.fall:g} s"
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
