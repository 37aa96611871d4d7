"""The statistics of a recording as a table, beside what is expected."""

import sys
from typing import NamedTuple, TextIO

import numpy as np
from rich.console import Console
from rich.table import Table

from rwtl.waves.onsets import calcium_quantiles
from rwtl.waves.statistics import WaveStatistics
from rwtl.waves.verdict import verdict

EXPECTED_HEADING = "default recording"
EXPERIMENTS_HEADING = "experiments"
NOTE = (
    "A number with two in brackets: median and quartiles. Default recording: the preset rings on 128 × 128 cells, 50 "
    "µm apart. Experiments: commonly quoted for stage-II waves, not checked against a full text."
)


class Row(NamedTuple):
    """A line of the table, as text; `expected` is for the default recording, and empty where nothing is known."""

    quantity: str
    measured: str
    unit: str
    expected: str = ""
    experiments: str = ""


def summary_rows(statistics: WaveStatistics) -> list[Row]:
    """The table of a recording; `none` where it holds nothing to measure."""
    speeds, spacing = statistics.speeds, statistics.recording.spacing
    large = statistics.large_waves
    in_large = statistics.onsets.wave.isin(large.index)
    minutes = statistics.duration / 60
    calcium, active = statistics.activity, statistics.activity.active_fraction
    median, p99 = calcium_quantiles(calcium, [0.5, 0.99])
    levels = (calcium.calcium_min, median, p99, calcium.calcium_max)
    rows = [
        Row("front speed", _quartiles(speeds * spacing, 0), "µm/s", "about 120", "100–300"),
        Row("front speed", _quartiles(speeds, 2), "sites/s", "2.3–2.4"),
        Row("prevailing direction, and how much it prevails (0–1)", _direction(*statistics.direction), ""),
        Row("interval of waves at a cell", _quartiles(statistics.intervals, 1), "s", "45–57", "30–120"),
        Row("onsets of a cell", f"{statistics.onset_rate:.2f}", "per minute", "1.1–1.3", "0.5–2"),
        Row("connected events", f"{statistics.onsets.event.nunique()}", ""),
        Row("waves, each from one origin", f"{len(statistics.waves)}", ""),
        Row("waves over 1 % of the lattice", f"{len(large)}, {len(large) / minutes:.1f} per minute", ""),
        Row("their share of the waves", _share(len(large), len(statistics.waves)), "%"),
        Row("their share of the onsets", _share(int(in_large.sum()), len(in_large)), "%"),
        Row("their size", _quartiles(large.cells.to_numpy(), 0), "cells"),
        Row("their duration", _quartiles(large.duration.to_numpy(), 1), "s"),
        Row("calcium, min / median / p99 / max", " / ".join(f"{x:.0f}" for x in levels), "nM", "60 / 98 / 620 / 648"),
        Row("active cells, mean / max", f"{100 * active.mean():.1f} / {100 * active.max():.0f}", "%", "7 / 30"),
    ]
    expected = {0.1: "about 0.2", 1.0: "2–4", 4.0: "about 10"}
    for line in statistics.displacements().itertuples():
        measured = _spread(line.median, line.lower_quartile, line.upper_quartile, 2)
        rows.append(Row(f"displacement at dt {line.dt:g} s", measured, "px", expected.get(line.dt, "")))
    return rows


def print_summary(statistics: WaveStatistics, file: TextIO | None = None) -> None:
    """Print the table, and the warnings below it, on the terminal or into a file."""
    console = Console(file=file, width=None if file is None and sys.stdout.isatty() else 120)
    rows, columns = statistics.recording.shape
    title = f"{statistics.duration:g} s of {rows} × {columns} cells, {statistics.recording.spacing:g} µm apart"
    table = Table("quantity", "measured", "unit", EXPECTED_HEADING, EXPERIMENTS_HEADING, title=title)
    for row in summary_rows(statistics):
        table.add_row(*row)
    console.print(table)
    console.print(NOTE, style="dim", highlight=False)
    for warning in verdict(statistics):
        console.print(f"warning: {warning}", style="bold red", highlight=False)


def _quartiles(values: np.ndarray, digits: int) -> str:
    lower, median, upper = WaveStatistics.quartiles_of(values)
    return _spread(median, lower, upper, digits)


def _spread(median: float, lower: float, upper: float, digits: int) -> str:
    return "none" if np.isnan(median) else f"{median:.{digits}f} ({lower:.{digits}f}–{upper:.{digits}f})"


def _direction(degrees: float, length: float) -> str:
    return "none" if np.isnan(degrees) else f"{degrees:.0f}°, {length:.2f}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f}" if whole else "none"
