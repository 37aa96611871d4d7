"""One self-contained HTML page of a recording: it opens without a network."""

import base64
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from rwtl.waves import figures
from rwtl.waves.parameters import PARAMETERS
from rwtl.waves.statistics import WaveStatistics
from rwtl.waves.summary import EXPECTED_HEADING, EXPERIMENTS_HEADING, NOTE, summary_rows
from rwtl.waves.verdict import verdict

# Units of the recording's own keys; those of a cell's parameters are in `PARAMETERS`.
_UNITS = {
    "spacing": "µm",
    "duration": "s",
    "transient": "s",
    "time_step": "s",
    "frame_interval": "s",
    "start.correlation_length": "µm",
}
_LISTED_WAVES = 10
_MAPPED_WAVES = 3


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
    environment = Environment(loader=PackageLoader("rwtl.waves", "."), autoescape=True, undefined=StrictUndefined)
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
        maps=[_embed(figure) for figure in _maps(statistics)],
        histograms={caption: _embed(figure) for caption, figure in histograms.items()},
        largest=largest,
        settings=list(_settings(recording.config)),
        parameters=[
            (name, PARAMETERS[name].meaning, value, PARAMETERS[name].unit, PARAMETERS[name].provenance(value))
            for name, value in recording.config["cell"].items()
        ],
    )
    file.write_text(page)


def _maps(statistics: WaveStatistics) -> Iterator[Figure]:
    """Onset maps of the largest connected event and of the largest waves."""
    onsets, waves = statistics.onsets, statistics.waves
    if onsets.empty:
        return
    event = onsets.event.value_counts().idxmax()
    of_event = onsets[onsets.event == event]
    origins = of_event.wave.nunique()
    start = of_event.time.min()
    title = f"largest event: from {start:.1f} s, {origins} origin{'' if origins == 1 else 's'}"
    yield figures.onset_map(statistics, of_event, title)
    for number, wave in waves.sort_values("cells", ascending=False).head(_MAPPED_WAVES).iterrows():
        title = f"wave {number}: from {wave.onset:.1f} s, {wave.cells:.0f} cells"
        yield figures.onset_map(statistics, onsets[onsets.wave == number], title)


def _settings(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Key, value and unit of everything that was configured, except the cell's parameters."""
    for key, value in config.items():
        name = f"{prefix}{key}"
        if name == "cell":
            continue
        if isinstance(value, Mapping) and value:
            yield from _settings(value, f"{name}.")
        else:
            spread_of = PARAMETERS.get(key) if prefix == "spread." else None
            text = "none" if value == {} else f"{value:g}" if isinstance(value, float) else str(value)
            yield name, text, spread_of.unit if spread_of else _UNITS.get(name, "")


def _embed(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return data_uri(buffer.getvalue(), "image/png")


def data_uri(content: bytes, mime: str) -> str:
    """Bytes of a picture as an address that a page can hold."""
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"
