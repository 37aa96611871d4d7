"""How far and where to the pixels of a data set move, beside those of another one."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Float, Float64
from matplotlib.figure import Figure
from torch import Tensor

from rwtl.errors import InputError
from rwtl.flow.sample import MAX_DISPLACEMENT

# Fine and even: the distance of two sets is exact to this width.
_FINE = np.linspace(0, MAX_DISPLACEMENT, 8001)
# What lies below the first edge but 0 is drawn as still.
LENGTHS = np.concatenate([[0.0], np.geomspace(0.05, MAX_DISPLACEMENT, 53)])
DIRECTIONS = np.linspace(-180, 180, 37)
_SHORTEST = 0.5  # px, of a displacement whose direction counts


@dataclass
class Displacements:
    """The displacements of many pixels, gathered pair by pair in constant memory.

    Attributes:
        pairs: Number of flow fields.
        total: Sum of all lengths in px.
        longest: In px.
        fine: Pixels by length, in 8000 even steps up to 400 px.
        lengths: Pixels by length, between LENGTHS in px.
        directions: Pixels by direction, between DIRECTIONS in degrees: 0 is to the right, 90 is down.
    """

    pairs: int = 0
    total: float = 0.0
    longest: float = 0.0
    fine: Float64[np.ndarray, "steps"] = field(default_factory=lambda: np.zeros(len(_FINE) - 1))
    lengths: Float64[np.ndarray, "bins"] = field(default_factory=lambda: np.zeros(len(LENGTHS) - 1))
    directions: Float64[np.ndarray, "angles"] = field(default_factory=lambda: np.zeros(len(DIRECTIONS) - 1))

    def add(self, flows: Float[Tensor, "*batch 2 h w"], valid: Float[Tensor, "*batch h w"]) -> None:
        """Add flow fields (px), of which pixels count where `valid` is 1."""
        u, v = _known(flows, valid)
        lengths = np.hypot(u, v)
        self.pairs += int(np.prod(flows.shape[:-3], dtype=int))
        self.total += float(lengths.sum())
        self.longest = max(self.longest, float(lengths.max(initial=0.0)))
        self.fine += np.histogram(lengths, _FINE)[0]
        self.lengths += displacement_histogram(flows, valid, LENGTHS)
        self.directions += direction_histogram(flows, valid, DIRECTIONS)

    @property
    def mean(self) -> float:
        """Mean length in px."""
        return self.total / self.fine.sum()

    def quantile(self, share: float) -> float:
        """Return the length in px that a share of the pixels stays below, to 0.05 px."""
        cumulated = np.concatenate([[0.0], np.cumsum(self.fine)]) / self.fine.sum()
        return float(np.interp(share, cumulated, _FINE))


def gathered(fields: Iterable[tuple[Float[Tensor, "*batch 2 h w"], Float[Tensor, "*batch h w"]]]) -> Displacements:
    """Gather flow fields, each with the map of where it is valid.

    Raises:
        InputError: No pixel of any field is valid.
    """
    displacements = Displacements()
    for flows, valid in fields:
        displacements.add(flows, valid)
    if not displacements.fine.sum():
        raise InputError(f"{displacements.pairs} flow fields without a valid pixel have no displacements; give others.")
    return displacements


def displacement_histogram(
    flows: Float[Tensor, "*batch 2 h w"], valid: Float[Tensor, "*batch h w"], edges: Float64[np.ndarray, "edges"]
) -> Float64[np.ndarray, "{len(edges)-1}"]:
    """Count valid pixels by the length of their displacement.

    Args:
        flows: Displacements in px.
        valid: 1 where the flow counts, elsewhere 0.
        edges: Rising lengths in px; what lies outside them is not counted.
    """
    return np.histogram(np.hypot(*_known(flows, valid)), edges)[0].astype(np.float64)


def direction_histogram(
    flows: Float[Tensor, "*batch 2 h w"], valid: Float[Tensor, "*batch h w"], edges: Float64[np.ndarray, "edges"]
) -> Float64[np.ndarray, "{len(edges)-1}"]:
    """Count valid pixels by the direction of their displacement, where it is at least 0.5 px long.

    Args:
        flows: Displacements in px.
        valid: 1 where the flow counts, elsewhere 0.
        edges: Rising directions in degrees within -180..180: 0 is to the right, 90 is down.
    """
    u, v = _known(flows, valid)
    moved = np.hypot(u, v) >= _SHORTEST
    return np.histogram(np.degrees(np.arctan2(v[moved], u[moved])), edges)[0].astype(np.float64)


def histogram_distance(
    first: Float64[np.ndarray, "bins"], second: Float64[np.ndarray, "bins"], edges: Float64[np.ndarray, "bins+1"]
) -> float:
    """Earth mover's distance of two histograms, in the unit of the edges.

    It is the area between the cumulated shares (Wasserstein's distance of order 1), and differs from that of the values
    themselves by at most the width of a bin. Histograms are counts of any number; neither may be empty.
    """
    apart = np.cumsum(first / first.sum() - second / second.sum())
    # All of a bin at its middle: between two middles the cumulated shares do not change.
    return float((np.abs(apart[:-1]) * np.diff((edges[:-1] + edges[1:]) / 2)).sum())


def distance(first: Displacements, second: Displacements) -> float:
    """Return by how many px the pixels of one set would have to be lengthened or shortened, in the mean, to match."""
    return histogram_distance(first.fine, second.fine, _FINE)


def summary(sets: dict[str, Displacements]) -> pd.DataFrame:
    """Return one row for each set: its pairs, its lengths in px, and its distance (px) to the first."""
    reference = next(iter(sets.values()))
    rows = [
        {
            "set": name,
            "pairs": each.pairs,
            "mean": each.mean,
            "median": each.quantile(0.5),
            "p90": each.quantile(0.9),
            "p99": each.quantile(0.99),
            "max": each.longest,
            "distance": distance(each, reference),
        }
        for name, each in sets.items()
    ]
    return pd.DataFrame(rows)


def histograms(sets: dict[str, Displacements]) -> pd.DataFrame:
    """Return `set`, `quantity` ("length px", "direction deg"), `low`, `high` and `share` of the pixels of each bin."""
    tables = []
    for name, each in sets.items():
        for quantity, edges, counts in (
            ("length px", LENGTHS, each.lengths),
            ("direction deg", DIRECTIONS, each.directions),
        ):
            share = counts / max(counts.sum(), 1.0)
            bins = {"set": name, "quantity": quantity, "low": edges[:-1], "high": edges[1:], "share": share}
            tables.append(pd.DataFrame(bins))
    return pd.concat(tables, ignore_index=True)


def histogram_figure(sets: dict[str, Displacements]) -> Figure:
    """Draw the lengths of all sets, the share of pixels that move farther, and their directions."""
    rows = -(-len(sets) // 3)  # of the legend, below the panels
    figure = Figure(figsize=(12, 4 + 0.25 * rows), layout="constrained")
    figure.get_layout_engine().set(rect=(0, 0, 1, 0.94))  # the angles' labels reach above their panel
    lengths, longer = figure.add_subplot(131), figure.add_subplot(132)
    directions = figure.add_subplot(133, projection="polar")
    drawn = np.concatenate([[LENGTHS[1] / 2], LENGTHS[1:]])  # 0 has no place on a logarithmic axis
    filled = {"fill": True, "alpha": 0.35} if len(sets) <= 2 else {"linewidth": 1.5}  # more than two hide one another
    for name, each in sets.items():
        shares = each.lengths / each.lengths.sum()
        lengths.stairs(100 * shares, drawn, label=f"{name}, mean {each.mean:.2f} px", **filled)
        longer.plot(LENGTHS[1:], np.maximum(100 * (1 - np.cumsum(shares)), 1e-9), label=name)
        turns = each.directions / max(each.directions.sum(), 1.0)
        # Drawn as in the picture, where y points down.
        middles = np.radians((DIRECTIONS[:-1] + DIRECTIONS[1:]) / 2)
        directions.plot(np.append(middles, middles[0]), 100 * np.append(turns, turns[0]), label=name)
    lengths.set(xscale="log", xlabel="displacement (px); first bar: still", ylabel="pixels in the bin (%)")
    longer.set(xscale="log", yscale="log", ylim=(0.05, 110), xlabel="displacement (px)", ylabel="pixels beyond it (%)")
    directions.set_theta_direction(-1)
    directions.set_xlabel(f"direction of those of {_SHORTEST:g} px or more (%)")
    for axes in (lengths, longer):
        axes.grid(alpha=0.3)
    figure.legend(*lengths.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
    return figure


def _known(flows: Float[Tensor, "*batch 2 h w"], valid: Float[Tensor, "*batch h w"]) -> tuple[np.ndarray, np.ndarray]:
    """Both components of the displacement of all pixels that count, in double precision."""
    counted = valid.numpy() >= 0.5
    return flows.select(-3, 0).numpy()[counted].astype(float), flows.select(-3, 1).numpy()[counted].astype(float)
