"""Figures of a recording's statistics. They are narrow, so that they can be read on a small screen."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rwtl.waves.statistics import WaveStatistics

_CALCIUM_COLOUR, _ONSET_COLOUR = "#31688e", "#b2182b"
ONSET_COLOURS = "viridis"
# Arrows along the longer side of an onset map.
_ARROWS = 14


def traces(statistics: WaveStatistics) -> Figure:
    """Share of active cells over time, and below it the calcium of a few cells of the middle row, with their onsets."""
    recording, activity = statistics.recording, statistics.activity
    time = recording.first_frame_time + recording.frame_interval * np.arange(recording.valid_frames)
    count = len(activity.traced)
    figure = _figure(6.4, 1.7 + 0.85 * count)
    top, *below = figure.subplots(1 + count, 1, sharex=True, height_ratios=[1.7] + [1] * count)
    top.fill_between(time, 100 * activity.active_fraction, color=_CALCIUM_COLOUR, linewidth=0)
    top.set(ylabel="active\ncells (%)", ylim=(0, max(1.0, 105 * activity.active_fraction.max())))
    highest = max(650.0, float(activity.traces.max()))
    for ax, cell, trace in zip(below, activity.traced.tolist(), activity.traces.T, strict=True):
        ax.plot(time, trace, color=_CALCIUM_COLOUR, linewidth=1)
        ax.axhline(statistics.active_above, color="0.6", linewidth=0.8, linestyle="--")
        onsets = activity.time[activity.cell == cell]
        ax.plot(onsets, np.full(len(onsets), statistics.active_above), "o", color=_ONSET_COLOUR, markersize=4)
        row, column = divmod(cell, recording.shape[1])
        ax.set_title(f"row {row}, column {column}", loc="left", fontsize=9, pad=2)
        ax.set(ylim=(0, highest), yticks=[0, 200, 600])
        ax.spines[["top", "right"]].set_visible(False)
    below[-1].set(xlabel="model time (s)", xlim=(time[0], time[-1]) if len(time) > 1 else None)
    below[count // 2].set_ylabel("calcium (nM)")
    return figure


def onset_map(statistics: WaveStatistics, onsets: pd.DataFrame, title: str) -> Figure:
    """When each cell became active, with arrows along the velocity of the front; a star marks the origin of each wave.

    Args:
        onsets: rows of `statistics.onsets`, of one wave or one connected event. Where a cell has several, the first is
            shown.
        title: of the figure.
    """
    rows, columns = statistics.recording.shape
    scale = statistics.recording.spacing / 1000
    first = onsets.sort_values("time").drop_duplicates(["row", "column"])
    times = np.full((rows, columns), np.nan)
    times[first.row, first.column] = first.time - first.time.min()
    figure = _figure(4.6, 0.8 + 2.9 * max(0.6, min(1.6, rows / columns)))
    axes = figure.subplots()
    extent = (-0.5 * scale, (columns - 0.5) * scale, (rows - 0.5) * scale, -0.5 * scale)
    image = axes.imshow(times, cmap=ONSET_COLOURS, interpolation="nearest", extent=extent)
    axes.set_facecolor("0.9")
    # The mean velocity over square blocks: an arrow for every cell would be a thicket.
    block = max(1, -(-max(rows, columns) // _ARROWS))
    arrows = first.dropna().groupby([first.row // block, first.column // block])
    arrows = arrows[["row", "column", "velocity_x", "velocity_y"]].mean()
    # Lengths tell the speed: the median speed is 0.8 of a block.
    unit = float(np.hypot(first.velocity_x, first.velocity_y).median()) if len(arrows) else 1.0
    axes.quiver(
        arrows.column * scale, arrows.row * scale, arrows.velocity_x, arrows.velocity_y,
        angles="xy", scale_units="xy", scale=unit / (0.8 * block * scale), color="white", width=0.006, pivot="mid",
    )  # fmt: skip
    origins = statistics.waves.loc[onsets.wave.unique()]
    axes.plot(origins.origin_column * scale, origins.origin_row * scale, "*", color="red", mec="white", markersize=11)
    axes.set(xlabel="mm", ylabel="mm")
    axes.set_title(title, fontsize=10)
    figure.colorbar(image, ax=axes, label="onset (s after the first)", shrink=0.85)
    return figure


def calcium_histogram(statistics: WaveStatistics) -> Figure:
    """How often calcium has which concentration, over all cells and frames."""
    activity = statistics.activity
    width = 10
    shares = activity.calcium_counts.reshape(-1, width).sum(axis=1) / activity.calcium_counts.sum()
    used = np.flatnonzero(shares)
    shown = slice(used[0], used[-1] + 1)
    figure, axes = _panel("calcium (nM)", "share of cells and frames")
    axes.bar(width * np.arange(len(shares))[shown], shares[shown], width=width, align="edge", color=_CALCIUM_COLOUR)
    axes.axvline(statistics.active_above, color=_ONSET_COLOUR, linewidth=1, linestyle="--", label="active above")
    axes.set_yscale("log")
    axes.legend(fontsize=9)
    return figure


def speed_histogram(statistics: WaveStatistics) -> Figure:
    """Local front speed, over the onsets where it is known."""
    figure, axes = _panel("front speed (µm/s)", "onsets")
    _histogram(axes, statistics.speeds * statistics.recording.spacing)
    return figure


def interval_histogram(statistics: WaveStatistics) -> Figure:
    """Time between successive onsets of a cell."""
    figure, axes = _panel("interval of waves at a cell (s)", "intervals")
    _histogram(axes, statistics.intervals)
    return figure


def displacement_histogram(statistics: WaveStatistics) -> Figure:
    """Displacement between two frames, in pixels, for several frame intervals, on a logarithmic axis."""
    figure, axes = _panel("displacement (pixels)", "onsets")
    speeds = statistics.speeds
    if not _holds(axes, speeds):
        return figure
    low, high = np.quantile(speeds, (0.005, 0.995))
    intervals = statistics.displacements().dt
    edges = np.geomspace(low * intervals.min() / 1.6, high * intervals.max() * 1.6, 120)
    for dt in intervals:
        heights, *_ = axes.hist(speeds * dt, edges, histtype="stepfilled", alpha=0.7)
        axes.text(np.median(speeds) * dt, heights.max(), f"dt {dt:g} s", ha="center", va="bottom", fontsize=9)
    axes.set_xscale("log")
    axes.set_xticks(ticks := [0.1, 0.3, 1, 3, 10, 30], [f"{tick:g}" for tick in ticks])
    axes.set_xlim(edges[0], edges[-1])
    axes.margins(y=0.12)
    return figure


def _histogram(axes: Axes, values: np.ndarray) -> None:
    """Draw the values but for the outermost 0.5 % on each side, and their median."""
    if not _holds(axes, values):
        return
    low, high = np.quantile(values, (0.005, 0.995))
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    axes.hist(values, np.linspace(low - margin, high + margin, 60), color=_CALCIUM_COLOUR)
    median = float(np.median(values))
    axes.axvline(median, color=_ONSET_COLOUR, linewidth=1, linestyle="--", label=f"median {median:.3g}")
    axes.legend(fontsize=9)


def _holds(axes: Axes, values: np.ndarray) -> bool:
    """Whether there is something to draw; if not, the axes say so."""
    if len(values) == 0:
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", va="center")
        axes.set(xticks=[], yticks=[])
    return len(values) > 0


def _panel(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    figure = _figure(4.6, 3.1)
    axes = figure.subplots()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _figure(width: float, height: float, **arguments: Any) -> Figure:
    """A figure of some inches that draws without a display."""
    figure = Figure(figsize=(width, height), dpi=140, layout="constrained", **arguments)
    FigureCanvasAgg(figure)
    return figure
