"""One self-contained HTML page of a recording, and its statistics as a table; the page opens without a network."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure
from rich.table import Table

from rwtl.config import flat
from rwtl.terminal import console
from rwtl.waves.measure.onsets import calcium_quantiles
from rwtl.waves.measure.statistics import WaveStatistics
from rwtl.waves.measure.verdict import verdict
from rwtl.waves.model.parameters import PARAMETERS
from rwtl.waves.page import figures

EXPECTED_HEADING = "default recording"
EXPERIMENTS_HEADING = "experiments"
NOTE = (
    "A number with two in brackets: median and quartiles. Default recording: the preset rings on 128 × 128 cells, 50 "
    "µm apart. Experiments: commonly quoted for stage-II waves, not checked against a full text."
)
_LISTED_WAVES, _MAPPED_WAVES = 10, 3
# Of the recording's keys.
_UNITS = dict.fromkeys(("duration", "transient", "time_step", "frame_interval"), "s")
_UNITS |= dict.fromkeys(("spacing", "start.correlation_length"), "µm")
_UNITS |= {f"spread.{name}": parameter.unit for name, parameter in PARAMETERS.items()}


class Row(NamedTuple):
    """A line of the table, as text; `expected` is for the default recording, and empty where nothing is known."""

    quantity: str
    measured: str
    unit: str
    expected: str = ""
    experiments: str = ""


def summary_rows(statistics: WaveStatistics) -> list[Row]:
    """Return the table of a recording; `none` where it holds nothing to measure."""
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
    printed = console(file)
    rows, columns = statistics.recording.shape
    title = f"{statistics.duration:g} s of {rows} × {columns} cells, {statistics.recording.spacing:g} µm apart"
    table = Table("quantity", "measured", "unit", EXPECTED_HEADING, EXPERIMENTS_HEADING, title=title)
    for row in summary_rows(statistics):
        table.add_row(*row)
    printed.print(table)
    printed.print(NOTE, style="dim", highlight=False)
    for warning in verdict(statistics):
        printed.print(f"warning: {warning}", style="bold red", highlight=False)


def _quartiles(values: np.ndarray, digits: int) -> str:
    lower, median, upper = WaveStatistics.quartiles_of(values)
    return _spread(median, lower, upper, digits)


def _spread(median: float, lower: float, upper: float, digits: int) -> str:
    return "none" if np.isnan(median) else f"{median:.{digits}f} ({lower:.{digits}f}–{upper:.{digits}f})"


def _direction(degrees: float, length: float) -> str:
    return "none" if np.isnan(degrees) else f"{degrees:.0f}°, {length:.2f}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f}" if whole else "none"


def write_page(statistics: WaveStatistics, file: Path, mosaic: Path, movie: Path) -> None:
    """Write the page of a recording: warnings, statistics, pictures, and what was simulated.

    Args:
        statistics: of the recording.
        file: the page.
        mosaic, movie: what `draw_mosaic` (as .png) and `write_movie` (as .gif) made of it.
    """
    recording = statistics.recording
    largest = statistics.waves.sort_values("cells", ascending=False).head(_LISTED_WAVES)
    histograms = {
        "Calcium of all cells and frames": figures.calcium_histogram(statistics),
        "Local speed of the fronts": figures.speed_histogram(statistics),
        "Time between successive onsets of a cell": figures.interval_histogram(statistics),
        "Displacement of the fronts between two frames; a cell is a pixel": figures.displacement_histogram(statistics),
    }
    environment = Environment(loader=PackageLoader("rwtl.waves.page", "."), autoescape=True, undefined=StrictUndefined)
    page = environment.get_template("page.html.j2").render(
        recording=recording,
        statistics=statistics,
        end=recording.time_of(recording.valid_frames - 1),
        warnings=verdict(statistics),
        headings=(EXPECTED_HEADING, EXPERIMENTS_HEADING),
        rows=summary_rows(statistics),
        note=NOTE,
        mosaic=data_uri(mosaic.read_bytes(), "image/png"),
        movie=data_uri(movie.read_bytes(), "image/gif"),
        traces=_embed(figures.traces(statistics)),
        maps=[_embed(figure) for figure in _maps(statistics, largest)],
        histograms={caption: _embed(figure) for caption, figure in histograms.items()},
        largest=largest,
        settings=list(_settings(recording.config)),
        parameters=[
            (name, PARAMETERS[name].meaning, value, PARAMETERS[name].unit, PARAMETERS[name].provenance(value))
            for name, value in recording.config["cell"].items()
        ],
    )
    file.write_text(page, encoding="utf-8")


def _maps(statistics: WaveStatistics, largest: pd.DataFrame) -> Iterator[Figure]:
    """Onset maps of the largest connected event and of the largest waves."""
    onsets = statistics.onsets
    if onsets.empty:
        return
    of_event = onsets[onsets.event == onsets.event.value_counts().idxmax()]
    origins = of_event.wave.nunique()
    title = f"largest event: from {of_event.time.min():.1f} s, {origins} origin{'' if origins == 1 else 's'}"
    yield figures.onset_map(statistics, of_event, title)
    for number, wave in largest.head(_MAPPED_WAVES).iterrows():
        title = f"wave {number}: from {wave.onset:.1f} s, {wave.cells:.0f} cells"
        yield figures.onset_map(statistics, onsets[onsets.wave == number], title)


def _settings(config: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Key, value and unit of everything that was configured, except the cell's parameters."""
    for name, value in flat({key: "none" if value == {} else value for key, value in config.items() if key != "cell"}):
        yield name, f"{value:g}" if isinstance(value, float) else str(value), _UNITS.get(name, "")


def _embed(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return data_uri(buffer.getvalue(), "image/png")


def data_uri(content: bytes, mime: str) -> str:
    """Return the bytes of a picture as an address that a page can hold."""
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"
