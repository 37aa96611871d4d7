"""Onsets that belong together: events, the waves that they consist of, and the local velocity of their fronts."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int, Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

_FOUR_NEIGHBOURS = ((0, 1), (1, 0), (0, -1), (-1, 0))
# Of the plane that is fitted to the onset times around an onset, to measure the velocity of the front:
_RADIUS = 2  # rows and columns to each side
_BLOCK = 1 << 17  # onsets at a time: memory hardly grows with their number
_FEWEST = 8  # cells, of the 25 in reach
_LEAST_SCATTER = 0.2  # sites²: two adjacent rows of cells scatter by 0.25 across their length, a single one by 0
# Share of the variance of onset times that the plane has to explain: at an origin, where fronts meet and where cells
# fire independently, there is no one direction of travel.
_LEAST_EXPLAINED = 0.5
_LEAST_VARIANCE = 1e-6  # s²: onsets within a millisecond are simultaneous, and a plane through them is rounding


@dataclass(frozen=True)
class OnsetIndex:
    """Finds the onsets of neighbouring cells.

    Attributes:
        time: of every onset, s; sorted by cell, then by time.
        cell: of every onset, row * columns + column.
        shape: (rows, columns) of the lattice.
        periodic: whether the last row and column neighbour the first.
    """

    time: Float64[np.ndarray, "onset"]
    cell: Int64[np.ndarray, "onset"]
    shape: tuple[int, int]
    periodic: bool

    @cached_property
    def _span(self) -> float:
        """More than twice the time from the first onset to the last."""
        return 2 * (float(np.ptp(self.time)) + 1) if len(self.time) else 1.0

    @cached_property
    def _keys(self) -> Float64[np.ndarray, "onset"]:
        """One number for each onset that sorts as (cell, time) does."""
        return self.cell * self._span + (self.time - self.time.min(initial=np.inf))

    def nearest(
        self, onset: Int64[np.ndarray, "asked"], row_step: int, column_step: int, within: float
    ) -> tuple[Int64[np.ndarray, "pair"], Int64[np.ndarray, "pair"]]:
        """Pair onsets with the onset nearest in time at the cell some rows and columns away.

        Args:
            onset: numbers of the onsets to pair.
            row_step, column_step: down and to the right.
            within: s, the largest difference in time.

        Returns:
            Numbers of the onsets that have a partner, and of their partners.
        """
        rows, columns = self.shape
        row, column = np.divmod(self.cell[onset], columns)
        row, column = row + row_step, column + column_step
        if self.periodic:
            row, column = row % rows, column % columns
        inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        onset = onset[inside]
        wanted = self._keys[onset] + (row[inside] * columns + column[inside] - self.cell[onset]) * self._span
        after = np.searchsorted(self._keys, wanted).clip(max=max(0, len(self._keys) - 1))
        before = (after - 1).clip(0)
        earlier_is_nearer = np.abs(self._keys[before] - wanted) < np.abs(self._keys[after] - wanted)
        partner = np.where(earlier_is_nearer, before, after)
        # Half of the span is longer than all times, so a partner at another cell is never taken for near.
        near = np.abs(self._keys[partner] - wanted) <= min(within, self._span / 2)
        return onset[near], partner[near]


def connected_events(index: OnsetIndex, link: float) -> Int64[np.ndarray, "onset"]:
    """Number the events: onsets of 4-neighbours at most `link` s apart belong to one event."""
    first, second = _linked_pairs(index, link)
    size = len(index.time)
    links = coo_array((np.ones(len(first), bool), (first, second)), shape=(size, size))
    return _numbered_by_time(connected_components(links, directed=False)[1], index.time)


def origin_waves(index: OnsetIndex, link: float) -> Int64[np.ndarray, "onset"]:
    """Number the waves: onsets that spread from one origin.

    Waves that start apart and collide form one connected event. They are told apart by descent: every onset is traced
    back to the earliest of its linked neighbours, and on, up to an onset that none of them precedes: an origin. An
    origin that an older front meets within `link` s of its start is a cell that noise set off slightly early, and its
    onsets belong to that older wave.
    """
    first, second = _linked_pairs(index, link)
    origin = _descend(index.time, first, second)
    root, basin = np.unique(origin, return_inverse=True)
    border = basin[first] != basin[second]
    first, second = first[border], second[border]
    meet = np.maximum(index.time[first], index.time[second])
    merged = _merge_early_meetings(index.time[root], basin[first], basin[second], meet, link)
    return _numbered_by_time(merged[basin], index.time)


def _numbered_by_time(
    group: Int[np.ndarray, "onset"], time: Float64[np.ndarray, "onset"]
) -> Int64[np.ndarray, "onset"]:
    """Number the groups from 0 in the order of their first onsets."""
    order = np.lexsort((group, time))
    number = np.empty(len(group), np.int64)
    number[order] = pd.factorize(group[order])[0]
    return number


def _linked_pairs(index: OnsetIndex, link: float) -> tuple[Int64[np.ndarray, "pair"], Int64[np.ndarray, "pair"]]:
    everyone = np.arange(len(index.time))
    pairs = [index.nearest(everyone, row_step, column_step, link) for row_step, column_step in _FOUR_NEIGHBOURS]
    return np.concatenate([first for first, _ in pairs]), np.concatenate([second for _, second in pairs])


def _descend(
    time: Float64[np.ndarray, "onset"], first: Int64[np.ndarray, "pair"], second: Int64[np.ndarray, "pair"]
) -> Int64[np.ndarray, "onset"]:
    """Return the origin of each onset: follow the earliest linked neighbour as long as it is earlier."""
    parent = np.arange(len(time))
    earlier = time[second] < time[first]
    first, second = first[earlier], second[earlier]
    order = np.argsort(-time[second], kind="stable")
    parent[first[order]] = second[order]  # the earliest neighbour is written last
    while True:
        further = parent[parent]
        if np.array_equal(further, parent):
            return parent
        parent = further


def _merge_early_meetings(
    birth: Float64[np.ndarray, "basin"],
    a: Int64[np.ndarray, "border"],
    b: Int64[np.ndarray, "border"],
    meet: Float64[np.ndarray, "border"],
    link: float,
) -> Int64[np.ndarray, "basin"]:
    """Return the basin that holds each basin: basins a and b that meet early in the life of the younger are one."""
    owner = list(range(len(birth)))

    def find(basin: int) -> int:
        while owner[basin] != basin:
            owner[basin] = owner[owner[basin]]
            basin = owner[basin]
        return basin

    order = np.argsort(meet)
    either = np.minimum(a, b) * len(birth) + np.maximum(a, b)
    _, first_meeting = np.unique(either[order], return_index=True)
    order = order[np.sort(first_meeting)]
    for one, other, time in zip(a[order].tolist(), b[order].tolist(), meet[order].tolist(), strict=True):
        older, younger = sorted((find(one), find(other)), key=birth.__getitem__)
        if older != younger and time - birth[younger] <= link:
            owner[younger] = older
    return np.array([find(basin) for basin in range(len(birth))], np.int64)


def local_velocities(
    index: OnsetIndex, wave: Int64[np.ndarray, "onset"], link: float
) -> tuple[Float64[np.ndarray, "onset"], Float64[np.ndarray, "onset"]]:
    """Return the velocity of the front at each onset, sites/s towards increasing column and increasing row.

    A plane t = t₀ + p·(column, row) is fitted by least squares to the onset times of the same wave within two rows and
    columns; the slowness p points where the front travels, and the velocity is p/|p|². nan where fewer than 8 cells
    take part, where they lie on a line, where they are simultaneous, or where the plane explains less than half of
    the variance of the times.

    Args:
        index: of the onsets.
        wave: number of the wave that each onset belongs to.
        link: s; the front needs no longer for a site.
    """
    velocity = np.empty((2, len(index.time)))
    for start in range(0, len(index.time), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(index.time)))
        velocity[:, block] = _velocities_of(block, index, wave, link)
    return velocity[0], velocity[1]


def _velocities_of(
    block: Int64[np.ndarray, "block"], index: OnsetIndex, wave: Int64[np.ndarray, "onset"], link: float
) -> Float64[np.ndarray, "2 block"]:
    """Velocities of successive onsets."""
    count = np.zeros(len(block))
    mean = {name: np.zeros(len(block)) for name in ("x", "y", "t", "xx", "xy", "yy", "xt", "yt", "tt")}
    for y in range(-_RADIUS, _RADIUS + 1):
        for x in range(-_RADIUS, _RADIUS + 1):
            onset, partner = index.nearest(block, y, x, link * (abs(x) + abs(y)))
            same = wave[onset] == wave[partner]
            onset, partner = onset[same], partner[same]
            t = index.time[partner] - index.time[onset]
            count[onset - block[0]] += 1
            terms = {"x": x, "y": y, "t": t, "xx": x * x, "xy": x * y, "yy": y * y, "xt": x * t, "yt": y * t}
            for name, term in {**terms, "tt": t * t}.items():
                mean[name][onset - block[0]] += term
    for total in mean.values():
        total /= np.maximum(count, 1)
    xx, xy, yy, xt, yt, tt = (mean[u + v] - mean[u] * mean[v] for u, v in ("xx", "xy", "yy", "xt", "yt", "tt"))
    determinant = xx * yy - xy**2
    least_scatter = (xx + yy) / 2 - np.hypot((xx - yy) / 2, xy)
    with np.errstate(invalid="ignore", divide="ignore"):
        slowness = np.stack([yy * xt - xy * yt, xx * yt - xy * xt]) / determinant
        explained = (slowness[0] * xt + slowness[1] * yt) / tt
        usable = (count >= _FEWEST) & (least_scatter >= _LEAST_SCATTER)
        usable &= (explained >= _LEAST_EXPLAINED) & (tt >= _LEAST_VARIANCE)
        return np.where(usable, slowness / np.sum(slowness**2, axis=0), np.nan)
