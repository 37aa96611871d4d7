"""Statistics of a recording: its waves, their fronts, and the motion that they amount to."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64

from rwtl.waves.measure.events import OnsetIndex, connected_events, local_velocities, origin_waves
from rwtl.waves.measure.onsets import Activity, find_activity
from rwtl.waves.store import Recording, opened

LARGE = 0.01  # of the lattice; waves that reach fewer cells are patches
_ORIGIN_LASTS = 0.5  # s; the cells that are active so soon after the first onset of a wave are its origin


@dataclass(frozen=True)
class WaveStatistics:
    """Results of `wave_statistics`. Angles in degrees: 0 to the right (increasing column), 90 down (increasing row).

    Attributes:
        recording: the one that was measured.
        activity: onsets, active fraction of each frame, distribution of calcium.
        onsets: a row for each onset, sorted by cell, then by time: `time` (s of model time), `row`, `column`, `event`
            and `wave` (numbers), and the local velocity of the front, `velocity_x` (to the right) and `velocity_y`
            (down), sites/s; nan where the front has none (see `local_velocities`).
        waves: a row for each wave, in order of onset and indexed by their numbers: `onset` (s of model time),
            `duration` (s, from the first onset to the last), `cells` (different ones), `fraction` of the lattice,
            `origin_row` and `origin_column` (centroid of the cells with an onset in its first 0.5 s), `speed` (µm/s)
            and `sites_per_s` (medians over its onsets), `direction` (degrees, circular mean over its onsets),
            `directedness` (length of the mean unit vector: 1 for a straight front, 0 for a ring), and `event`, the
            connected event that it is part of.
        active_above: nM, the threshold of an onset.
        periodic: whether opposite borders were taken as neighbours.
    """

    recording: Recording
    activity: Activity
    onsets: pd.DataFrame
    waves: pd.DataFrame
    active_above: float
    periodic: bool

    @property
    def size(self) -> int:
        """Cells of the lattice."""
        return self.recording.shape[0] * self.recording.shape[1]

    @property
    def duration(self) -> float:
        """Recorded time, s."""
        return self.recording.valid_frames * self.recording.frame_interval

    @property
    def large_waves(self) -> pd.DataFrame:
        """The waves that reach at least 1 % of the lattice."""
        return self.waves[self.waves.fraction >= LARGE]

    @property
    def onset_rate(self) -> float:
        """Onsets per cell and minute."""
        return 60 * len(self.onsets) / (self.size * self.duration)

    @property
    def speeds(self) -> Float64[np.ndarray, "front"]:
        """Local speed of the fronts, sites/s, at each onset where it is known."""
        speed = np.hypot(self.onsets.velocity_x.to_numpy(), self.onsets.velocity_y.to_numpy())
        return speed[np.isfinite(speed)]

    @property
    def direction(self) -> tuple[float, float]:
        """Circular mean of the fronts' direction over all onsets, degrees, and the length of the mean unit vector.

        The length is 0 where no direction prevails and 1 where all are the same; both are nan where there is no front.
        """
        fronts = self.onsets[["velocity_x", "velocity_y"]].dropna().to_numpy()
        x, y = (fronts / np.linalg.norm(fronts, axis=1, keepdims=True)).mean(axis=0) if len(fronts) else (np.nan,) * 2
        return float(np.degrees(np.arctan2(y, x))), float(np.hypot(x, y))

    @property
    def intervals(self) -> Float64[np.ndarray, "interval"]:
        """Time between successive onsets of a cell, s. Intervals as long as the recording cannot be seen in it."""
        cell, time = self.activity.cell, self.activity.time
        return np.diff(time)[np.diff(cell) == 0]

    def displacements(self, intervals: Sequence[float] = (0.1, 0.5, 1.0, 2.0, 4.0)) -> pd.DataFrame:
        """Displacement of the fronts, in pixels, between two frames; a cell is a pixel.

        Args:
            intervals: between the frames, s.

        Returns:
            A row for each interval: `dt` (s), and `lower_quartile`, `median` and `upper_quartile` over the onsets.
        """
        rows = [(dt, *(quartile * dt for quartile in self.quartiles_of(self.speeds))) for dt in intervals]
        return pd.DataFrame(rows, columns=["dt", "lower_quartile", "median", "upper_quartile"])

    @staticmethod
    def quartiles_of(values: np.ndarray) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile; nan where there is no value."""
        return tuple(np.quantile(values, (0.25, 0.5, 0.75)).tolist()) if len(values) else (np.nan,) * 3


def wave_statistics(
    recording: Recording | str | Path,
    active_above: float = 200.0,
    rearm_below: float = 150.0,
    link: float = 1.5,
    periodic: bool | None = None,
) -> WaveStatistics:
    """Measure a recording, complete or not, by its valid frames.

    Args:
        recording: open, or its path, with at least one valid frame; it is read once, 64 frames at a time.
        active_above: calcium of an active cell, nM; a cell at rest has 60 to 105, in a burst 400 to 650.
        rearm_below: calcium below which a cell has to fall before its next onset counts, nM.
        link: onsets of neighbouring cells at most so many s apart belong together. The slowest fronts of the model, of
            0.85 sites/s, take 1.2 s for a site.
        periodic: whether opposite borders of the lattice are neighbours; by default as they were in the simulation.

    Raises:
        InputError: the recording has no valid frame, or rearm_below is above active_above.

    >>> statistics = rwtl.wave_statistics("waves.zarr")
    >>> statistics.waves.columns.tolist()[:4]
    ['onset', 'duration', 'cells', 'fraction']
    """
    recording = opened(recording)
    periodic = recording.periodic if periodic is None else periodic
    activity = find_activity(recording, active_above, rearm_below)
    index = OnsetIndex(activity.time, activity.cell, recording.shape, periodic)
    wave = origin_waves(index, link)
    velocity_x, velocity_y = local_velocities(index, wave, link)
    columns = recording.shape[1]
    onsets = pd.DataFrame(
        {
            "time": activity.time,
            "row": activity.cell // columns,
            "column": activity.cell % columns,
            "event": connected_events(index, link),
            "wave": wave,
            "velocity_x": velocity_x,
            "velocity_y": velocity_y,
        }
    )
    waves = _table_of_waves(onsets, recording, periodic)
    return WaveStatistics(recording, activity, onsets, waves, active_above, periodic)


def _table_of_waves(onsets: pd.DataFrame, recording: Recording, periodic: bool) -> pd.DataFrame:
    rows, columns = recording.shape
    site, speed = onsets.row * columns + onsets.column, np.hypot(onsets.velocity_x, onsets.velocity_y)
    unit_x, unit_y = onsets.velocity_x / speed, onsets.velocity_y / speed
    waves = onsets.assign(site=site, speed=speed, unit_x=unit_x, unit_y=unit_y).groupby("wave")
    onset, cells, sites_per_s = waves.time.min(), waves.site.nunique(), waves.speed.median()
    unit_x, unit_y = waves.unit_x.mean(), waves.unit_y.mean()
    early = onsets[onsets.time <= onsets.wave.map(onset) + _ORIGIN_LASTS].sort_values("time")
    return pd.DataFrame(
        {
            "onset": onset,
            "duration": waves.time.max() - onset,
            "cells": cells,
            "fraction": cells / (rows * columns),
            "origin_row": _centroids(early.row, early.wave, rows, periodic),
            "origin_column": _centroids(early.column, early.wave, columns, periodic),
            "speed": sites_per_s * recording.spacing,
            "sites_per_s": sites_per_s,
            "direction": np.degrees(np.arctan2(unit_y, unit_x)),
            "directedness": np.hypot(unit_x, unit_y),
            "event": waves.event.first(),
        }
    )


def _centroids(position: pd.Series, wave: pd.Series, size: int, periodic: bool) -> pd.Series:
    """Mean position of the onsets of each wave along an axis of the lattice, which is a circle where it is periodic."""
    anchor = position.groupby(wave).first()
    offset = position - wave.map(anchor)
    if periodic:  # the shorter way round
        offset = (offset + size // 2) % size - size // 2
    return (anchor + offset.groupby(wave).mean()) % size
