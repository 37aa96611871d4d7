"""Local velocity of the fronts, from planes fitted to onset times."""

import numpy as np
from jaxtyping import Float64, Int64

from rwtl.waves.events import OnsetIndex

_RADIUS = 2
# Onsets at a time: memory hardly grows with their number.
_BLOCK = 1 << 17
# Cells that a fit needs, of the 25 in reach.
_FEWEST = 8
# Sites²: two adjacent rows of cells scatter by 0.25 across their length, a single one by 0.
_LEAST_SCATTER = 0.2
# Share of the variance of onset times that the plane has to explain: at an origin, where fronts meet and where cells
# fire independently, there is no one direction of travel.
_LEAST_EXPLAINED = 0.5
# s²: onsets within a millisecond are simultaneous, and a plane through them is rounding.
_LEAST_VARIANCE = 1e-6


def local_velocities(
    index: OnsetIndex, wave: Int64[np.ndarray, "onset"], link: float
) -> tuple[Float64[np.ndarray, "onset"], Float64[np.ndarray, "onset"]]:
    """Velocity of the front at each onset, sites/s towards increasing column and increasing row.

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
