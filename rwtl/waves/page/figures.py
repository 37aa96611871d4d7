"""Pictures of a recording: a mosaic, a movie, and figures of its statistics."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw, ImageFont

from rwtl.errors import InputError
from rwtl.random import evenly
from rwtl.waves.config import WAVE_COLOURS
from rwtl.waves.measure.statistics import WaveStatistics
from rwtl.waves.store import SAC, Recording

# Calcium in nM at both ends of the colours; a cell at rest has 60 to 105 nM, and one in a wave 400 to 650 nM.
_LOW, _HIGH = 50.0, 650.0
# A mosaic of a long recording shows a frame every 15 s, as papers on retinal waves do, or every multiple of that.
_MOSAIC_STEP = 15.0
_FEWEST_PANELS, _MOST_PANELS = 12, 48
_CALCIUM_COLOUR, _ONSET_COLOUR, _ONSET_COLOURS = "#31688e", "#b2182b", "viridis"
_ARROWS = 14  # along the longer side of an onset map


def draw_mosaic(recording: Recording, file: Path, panels: int | None = None, columns: int = 6) -> None:
    """Draw frames over the whole recording, from blue (low calcium) to red (high).

    Args:
        recording: with at least one valid frame; with fewer frames than panels, every frame is drawn.
        file: the picture, in a format that matplotlib knows by its suffix, such as .png.
        panels: how many frames, at equal distances. By default one at every multiple of 15 s of model time, or of 30 s
            and so on where that would be more than 48; where it would be fewer than 12, 24 at equal distances.
        columns: how many frames in a row.

    Raises:
        InputError: the recording has no valid frame.
    """
    recording.require_frames()
    chosen = mosaic_frames(recording) if panels is None else evenly(recording.valid_frames, panels)
    columns = min(columns, len(chosen))
    rows = -(-len(chosen) // columns)
    cells_high, cells_wide = recording.shape
    panel = 1.75
    # Inches; the header and the colour bar keep their size whatever the number of panels.
    width, height = columns * panel + 1.15, rows * (panel * cells_high / cells_wide + 0.25) + 0.65
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.0, hspace=0.0)
    axes = figure.subplots(rows, columns, squeeze=False)
    norm = Normalize(_LOW, _HIGH)
    for axis in axes.ravel():
        axis.set_axis_off()
    for axis, index in zip(axes.ravel(), chosen, strict=False):
        frame = recording.frames(index, index + 1)[0]
        image = axis.imshow(frame, cmap=WAVE_COLOURS, norm=norm, interpolation="nearest")
        axis.set_title(f"{recording.time_of(index):.1f} s", fontsize=12, pad=3)
    bar = figure.colorbar(image, ax=axes, extend="both", fraction=0.03, pad=0.015, aspect=35)
    bar.set_label("calcium (nM)", fontsize=12)
    bar.ax.tick_params(labelsize=11)
    simulated = recording.kind == SAC
    what = "Simulated retinal waves" if simulated else f"Synthetic recording, {recording.kind.replace('_', ' ')}"
    sites = "starburst amacrine cells" if simulated else "sites"
    title = f"{what}: {cells_high} × {cells_wide} {sites}, {recording.spacing:g} µm apart"
    figure.suptitle(title, fontsize=13, wrap=True)
    figure.savefig(file)


def mosaic_frames(recording: Recording) -> list[int]:
    """Numbers of the frames that a mosaic shows by default: see `draw_mosaic`.

    Raises:
        InputError: the recording has no valid frame.
    """
    recording.require_frames()
    first, last = recording.first_frame_time, recording.time_of(recording.valid_frames - 1)
    step = _MOSAIC_STEP * max(1, math.ceil((last - first) / (_MOSAIC_STEP * _MOST_PANELS)))
    times = step * np.arange(math.ceil(first / step), math.floor(last / step) + 1)
    if len(times) < _FEWEST_PANELS:
        return evenly(recording.valid_frames, 24)
    return [round((time - first) / recording.frame_interval) for time in times.tolist()]


def write_movie(
    recording: Recording, file: Path, frames: int = 120, size: int = 384, frames_per_second: int = 15
) -> None:
    """Write a GIF of frames at equal distances over the whole recording, with the model time drawn in.

    Args:
        recording: with at least one valid frame.
        file: ends in .gif.
        frames: at most so many.
        size: longest side of the movie at most, pixels.
        frames_per_second: of the movie when it plays.

    Raises:
        InputError: the recording has no valid frame, or the file does not end in .gif.
    """
    if file.suffix != ".gif":
        raise InputError(f"{file} does not end in .gif: the movie is written as a GIF")
    recording.require_frames()
    # A fixed palette keeps colours comparable from frame to frame; its last two entries are for the text.
    colours = (colormaps[WAVE_COLOURS](np.linspace(0, 1, 62))[:, :3] * 255).round().astype(np.uint8)
    palette = np.concatenate([colours, [[0, 0, 0], [255, 255, 255]]]).astype(np.uint8)
    # A whole number of pixels for every cell where there is room for it.
    scale = size // max(recording.shape) or size / max(recording.shape)
    shape = (round(recording.shape[1] * scale), round(recording.shape[0] * scale))
    font = ImageFont.load_default(size=max(12, size // 18))
    pictures = []
    for index in evenly(recording.valid_frames, frames):
        level = (recording.frames(index, index + 1)[0] - _LOW) / (_HIGH - _LOW)
        picture = Image.fromarray((level.clip(0, 1) * 61).round().astype(np.uint8))
        picture = picture.resize(shape, Image.Resampling.NEAREST)
        picture.putpalette(palette.tobytes())
        _stamp(picture, f"{recording.time_of(index):.1f} s", font)
        pictures.append(picture)
    duration = round(1000 / frames_per_second)
    pictures[0].save(file, save_all=True, append_images=pictures[1:], duration=duration, loop=0, optimize=False)


def _stamp(picture: Image.Image, text: str, font: ImageFont.FreeTypeFont) -> None:
    """Write a text into the corner, in the palette's last two colours: smooth edges would take those of calcium."""
    for colour, stroke in ((62, 2), (63, 0)):
        mask = Image.new("L", picture.size)
        ImageDraw.Draw(mask).text((6, 4), text, font=font, fill=255, stroke_width=stroke)
        picture.paste(colour, mask=mask.point(lambda level: 255 if level > 127 else 0))


def traces(statistics: WaveStatistics) -> Figure:
    """Share of active cells over time, and below it the calcium and the onsets of a few cells of the middle row."""
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
    """Map of the times of onset, with arrows along the velocity of the front; a star marks the origin of each wave.

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
    image = axes.imshow(times, cmap=_ONSET_COLOURS, interpolation="nearest", extent=extent)
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
    """Histogram of the calcium of all cells and frames."""
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
    """Histogram of the local front speed, over the onsets where it is known."""
    return _histogram(statistics.speeds * statistics.recording.spacing, "front speed (µm/s)", "onsets")


def interval_histogram(statistics: WaveStatistics) -> Figure:
    """Histogram of the time between successive onsets of a cell."""
    return _histogram(statistics.intervals, "interval of waves at a cell (s)", "intervals")


def displacement_histogram(statistics: WaveStatistics) -> Figure:
    """Histograms of the displacement between two frames, in pixels, for several intervals, on a logarithmic axis."""
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


def _histogram(values: np.ndarray, xlabel: str, ylabel: str) -> Figure:
    """Draw the values but for the outermost 0.5 % on each side, and their median."""
    figure, axes = _panel(xlabel, ylabel)
    if not _holds(axes, values):
        return figure
    low, high = np.quantile(values, (0.005, 0.995))
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    axes.hist(values, np.linspace(low - margin, high + margin, 60), color=_CALCIUM_COLOUR)
    median = float(np.median(values))
    axes.axvline(median, color=_ONSET_COLOUR, linewidth=1, linestyle="--", label=f"median {median:.3g}")
    axes.legend(fontsize=9)
    return figure


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


def _figure(width: float, height: float) -> Figure:
    """Return a figure of some inches, which draws without a display."""
    return Figure(figsize=(width, height), dpi=140, layout="constrained")
