"""How far the fronts of waves travel between two frames: sparse flow that is measured, not estimated from the frames.

It is the motion along the normal of the fronts only, and known on fronts only: along a front nothing tells one place
from another, and behind it and ahead of it nothing moves.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from rwtl.waves.measure.statistics import WaveStatistics, wave_statistics
from rwtl.waves.store import Recording

# s around the fronts of interest from which onsets are looked up: the slowest fronts take 1.2 s for a site.
_MARGIN = 1.5
# Share of dt by which the arrival that velocities predict may differ from the one that was measured.
TOLERANCE = 0.1
# Weight of a neighbour in bilinear interpolation that is rounding, so that a cell needs no neighbours at its own place.
_NO_WEIGHT = 1e-9


@dataclass(frozen=True)
class FrontMaps:
    """The onsets of some seconds as maps of the lattice.

    Attributes:
        wave: number of the wave that passed, -1 where none did, or where the front has no one velocity.
        passage: time of the onset (s of model time), and velocity to the right and down (sites/s); 0 where wave is -1.
    """

    wave: Int64[np.ndarray, "h w"]
    passage: Float64[np.ndarray, "3 h w"]

    def at(
        self, place: Float64[np.ndarray, "2 n"], wave: Int64[np.ndarray, " n"]
    ) -> tuple[Float64[np.ndarray, "3 n"], Bool[np.ndarray, " n"]]:
        """Interpolate the passage of the given waves bilinearly at places between cells.

        Args:
            place: column and row.
            wave: number of the wave for each place.

        Returns:
            The passage, and whether it is known: all cells that it is made of lie on the lattice and saw that wave.
        """
        rows, columns = self.wave.shape
        known = ((place >= 0) & (place <= [[columns - 1], [rows - 1]])).all(axis=0)
        x, y = np.where(known, place, 0)
        column, row = (np.minimum(v.astype(np.int64), max(size - 2, 0)) for v, size in ((x, columns), (y, rows)))
        passage = np.zeros((3, len(wave)))
        for step_y, weight_y in ((0, 1 - (y - row)), (1, y - row)):
            for step_x, weight_x in ((0, 1 - (x - column)), (1, x - column)):
                weight = weight_y * weight_x
                cell = (row + step_y).clip(max=rows - 1), (column + step_x).clip(max=columns - 1)
                known &= (self.wave[cell] == wave) | (weight < _NO_WEIGHT)
                passage += weight * self.passage[:, *cell]
        return passage, known


@dataclass(frozen=True)
class Fronts:
    """All onsets of a recording in the order of time, so that those of a frame are found at once.

    Attributes:
        time: s of model time.
        row, column: of the cell.
        wave: number of the wave that the onset belongs to, -1 where the front has no one velocity.
        velocity: of the front along its normal, to the right and down, sites/s; 0 where wave is -1.
        shape: rows and columns of the lattice.
        frame_interval: of the recording, s.
    """

    time: Float64[np.ndarray, " onset"]
    row: Int64[np.ndarray, " onset"]
    column: Int64[np.ndarray, " onset"]
    wave: Int64[np.ndarray, " onset"]
    velocity: Float64[np.ndarray, "2 onset"]
    shape: tuple[int, int]
    frame_interval: float

    @classmethod
    def of(cls, statistics: WaveStatistics) -> "Fronts":
        """Return the fronts that `wave_statistics` found."""
        onsets = statistics.onsets.sort_values("time", kind="stable")
        velocity = onsets[["velocity_x", "velocity_y"]].to_numpy().T
        known = np.isfinite(velocity).all(axis=0)
        return cls(
            time=onsets.time.to_numpy(),
            row=onsets.row.to_numpy(),
            column=onsets.column.to_numpy(),
            wave=np.where(known, onsets.wave.to_numpy(), -1),
            velocity=np.where(known, velocity, 0),
            shape=statistics.recording.shape,
            frame_interval=statistics.recording.frame_interval,
        )

    def between(self, start: float, stop: float) -> FrontMaps:
        """Map the onsets with start ≤ time < stop; of several at one cell the last counts."""
        first, last = np.searchsorted(self.time, (start, stop))
        chosen = slice(int(first), int(last))
        cell = self.row[chosen], self.column[chosen]
        wave = np.full(self.shape, -1, np.int64)
        passage = np.zeros((3, *self.shape))
        wave[cell] = self.wave[chosen]  # in the order of time: the last is written last
        passage[:, *cell] = [self.time[chosen], *self.velocity[:, chosen]]
        return FrontMaps(wave, passage)


def fronts_of(recording: Recording) -> Fronts:
    """Measure the fronts of a recording by its valid frames, those of both parts of the clips: it is read once."""
    return Fronts.of(wave_statistics(recording))


def front_flow(
    fronts: Fronts, time: float, dt: float, behind: float, ahead: float
) -> tuple[Float32[np.ndarray, "2 h w"], Float32[np.ndarray, "h w"]]:
    """The displacement of the fronts' pixels from the frame at `time` to the one at `time + dt`: v·dt, followed.

    A profile of calcium travels with a front, so the pixel x that the front passed at T(x) looks like the pixel y that
    it passes at T(y) = T(x) + dt. y is found by following the front's velocity v = ∇T/|∇T|² from x for dt, in steps of
    about a site, for v changes where fronts bend. How far T(y) is then from T(x) + dt is what velocities, from planes
    fitted to 25 cells, and onset times disagree by; y is moved along v(y) by that difference, which is more accurate
    than v·dt at every dt. A pixel is not valid where the difference is more than 10 % of dt (or half a frame interval,
    if that is longer), where the front has annihilated or left the lattice before it arrives, or where v or T is not
    known on its way. As `valid` needs the arrival, it leaves out what a wave is just about to reach for the last time.

    This is the normal component on fronts only: a front that slid along itself would look the same.

    Args:
        fronts: of the recording.
        time: of the first frame, s of model time.
        dt: to the second frame, s, above 0.
        behind, ahead: a pixel lies on a front if its onset was at most `behind` s before `time`, or comes at most
            `ahead` s after it.

    Returns:
        Flow in px, one for a site, to the right and down, 0 where it is not known; and 1 where it is known, else 0.
    """
    maps = fronts.between(time - behind - _MARGIN, time + ahead + dt + _MARGIN)
    onset = maps.passage[0]
    row, column = np.nonzero((maps.wave >= 0) & (onset >= time - behind) & (onset <= time + ahead))
    wave, start = maps.wave[row, column], np.stack([column, row]).astype(np.float64)
    place, known = _follow(maps, start, wave, dt)
    passage, met = maps.at(place, wave)
    late = passage[0] - (onset[row, column] + dt)
    known &= met & (np.abs(late) <= max(TOLERANCE * dt, fronts.frame_interval / 2))
    place = place - late * passage[1:]
    known &= maps.at(place, wave)[1]  # the correction may end on cells that the wave has not reached
    flow, valid = np.zeros((2, *fronts.shape), np.float32), np.zeros(fronts.shape, np.float32)
    cell = row[known], column[known]
    flow[:, *cell] = (place - start)[:, known]
    valid[cell] = 1
    return flow, valid


def _follow(
    maps: FrontMaps, start: Float[np.ndarray, "2 n"], wave: Int64[np.ndarray, " n"], dt: float
) -> tuple[Float[np.ndarray, "2 n"], Bool[np.ndarray, " n"]]:
    """Follow each wave's velocity for dt by the midpoint rule; return the places and whether all the way was known."""
    passage, known = maps.at(start, wave)
    length = np.hypot(*passage[1:]) * dt
    known &= length <= np.hypot(*maps.wave.shape)  # all others leave the lattice
    steps = max(1, int(np.ceil(length[known].max(initial=0))))
    place = start
    for _ in range(steps):
        middle, there = maps.at(place + passage[1:] * (dt / steps / 2), wave)
        known &= there
        place = place + np.where(known, middle[1:] * (dt / steps), 0)
        passage, there = maps.at(place, wave)
        known &= there
    return place, known
