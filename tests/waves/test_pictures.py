"""Pictures and the page of a recording."""

import base64
import dataclasses
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from rwtl.errors import InputError
from rwtl.waves import open_recording
from rwtl.waves.measure.statistics import wave_statistics
from rwtl.waves.measure.verdict import verdict
from rwtl.waves.page import figures
from rwtl.waves.page.figures import draw_mosaic, mosaic_frames, write_movie
from rwtl.waves.page.page import summary_rows, write_page

ROWS, COLUMNS = np.indices((12, 16))
SPEED = 2.0  # sites/s, to the right


@pytest.fixture
def fronts(recording_of):
    """Statistics of two straight fronts that run to the right, 30 s apart."""
    time = 0.2 * np.arange(1, 251)[:, None, None]
    calcium = np.full((250, 12, 16), 100.0)
    for start in (5.0, 35.0):
        since = time - start - COLUMNS / SPEED
        calcium += np.interp(since, [-0.25, 1.0, 2.6, 3.1], [0, 500, 500, 0])
    return wave_statistics(open_recording(recording_of(calcium.astype(np.float32), 0.2)))


@pytest.fixture
def silence(recording_of):
    frames = np.full((60, 12, 16), 100, np.float32)
    return wave_statistics(open_recording(recording_of(frames, 1.0)))


def times_of(recording, frames):
    return [recording.time_of(frame) for frame in frames]


@pytest.mark.parametrize(("duration", "step", "panels"), [(180, 15, 12), (700, 15, 46), (800, 30, 26)])
def test_the_mosaic_of_a_long_recording_has_a_frame_at_every_multiple_of_15_s(recording_of, duration, step, panels):
    recording = open_recording(recording_of(np.zeros((duration // 2, 1, 1), np.float32), 2.0))
    times = times_of(recording, mosaic_frames(recording))
    assert len(times) == panels
    np.testing.assert_allclose(times, step * np.arange(1, panels + 1), atol=1)


def test_the_mosaic_of_a_short_recording_is_spread_over_all_of_it(recording_of):
    recording = open_recording(recording_of(np.zeros((47, 1, 1), np.float32), 2.0))
    assert times_of(recording, mosaic_frames(recording)) == [2 + 4 * k for k in range(24)]
    with pytest.raises(InputError, match="has no valid frame"):
        mosaic_frames(dataclasses.replace(recording, valid_frames=0, complete=False))


def test_a_movie_shows_calcium_and_time(recording_of, tmp_path):
    frames = np.full((3, 32, 32), 50, np.float32)
    frames[1, 16:] = 650
    write_movie(open_recording(recording_of(frames, 1.0)), tmp_path / "movie.gif", size=64)
    with Image.open(tmp_path / "movie.gif") as movie:
        movie.seek(1)
        picture = np.asarray(movie.convert("RGB")).astype(int)
    assert (picture[40:] == (180, 4, 38)).all(), "high calcium is red"
    assert (picture[30, :] == (59, 76, 192)).all(), "low calcium is blue"
    assert {tuple(pixel) for pixel in picture[:30].reshape(-1, 3)} == {(59, 76, 192), (0, 0, 0), (255, 255, 255)}


def test_traces_are_those_of_the_recording(fronts):
    frames = fronts.recording.frames(0, 250)
    axes = figures.traces(fronts).axes
    assert axes[-1].get_xlabel() == "model time (s)"
    assert len(axes) == 1 + 6
    for ax, column in zip(axes[1:], (1, 4, 6, 9, 12, 14), strict=True):
        assert ax.get_title(loc="left") == f"row 6, column {column}"
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), frames[:, 6, column])
        np.testing.assert_allclose(ax.lines[-1].get_xdata(), [5 + column / SPEED, 35 + column / SPEED], atol=0.01)


def test_an_onset_map_has_times_arrows_and_origins(fronts):
    axes = figures.onset_map(fronts, fronts.onsets[fronts.onsets.wave == 1], "second").axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), COLUMNS / SPEED, atol=0.01)
    arrows = next(artist for artist in axes.collections if hasattr(artist, "U"))
    assert len(arrows.U) > 20
    np.testing.assert_allclose(arrows.U, SPEED, rtol=0.02)
    np.testing.assert_allclose(arrows.V, 0, atol=0.05)
    star = axes.lines[0]
    assert star.get_xdata() == pytest.approx(0.5 * 0.05, abs=0.05) and star.get_ydata() == pytest.approx(5.5 * 0.05)


def test_cells_outside_a_wave_are_left_out_of_its_map(fronts):
    onsets = fronts.onsets[(fronts.onsets.wave == 0) & (fronts.onsets.column < 8)]
    times = figures.onset_map(fronts, onsets, "half").axes[0].images[0].get_array()
    assert np.ma.getmaskarray(np.ma.masked_invalid(times)).sum() == 12 * 8


def test_histograms_hold_what_was_measured(fronts):
    (calcium,) = figures.calcium_histogram(fronts).axes
    assert sum(bar.get_height() for bar in calcium.patches) == pytest.approx(1)
    (speed,) = figures.speed_histogram(fronts).axes
    tallest = max(speed.patches, key=lambda bar: bar.get_height())
    assert tallest.get_x() <= SPEED * 50 <= tallest.get_x() + tallest.get_width()
    (interval,) = figures.interval_histogram(fronts).axes
    assert sum(bar.get_height() for bar in interval.patches) == 192
    (displacement,) = figures.displacement_histogram(fronts).axes
    places = {text.get_text(): text.get_position()[0] for text in displacement.texts}
    assert places["dt 0.1 s"] == pytest.approx(0.2, rel=0.02) and places["dt 4 s"] == pytest.approx(8, rel=0.02)
    for axes, unit in ((calcium, "nM"), (speed, "µm/s"), (interval, "s"), (displacement, "pixels")):
        assert f"({unit})" in axes.get_xlabel() and axes.get_ylabel()


class Page(HTMLParser):
    """The sources of a page's images, its other addresses and its text; checks that elements are closed in order."""

    def __init__(self, file):
        super().__init__()
        self.images, self.addresses, self.text, self.open = [], [], "", []
        self.feed(file.read_text())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag not in ("img", "meta"):
            self.open.append(tag)
        for name, value in attributes:
            if name in ("src", "href"):
                (self.images if tag == "img" else self.addresses).append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += re.sub(r"\s+", " ", data)


@pytest.fixture
def page(tmp_path):
    def write(statistics):
        draw_mosaic(statistics.recording, tmp_path / "mosaic.png")
        write_movie(statistics.recording, tmp_path / "movie.gif", frames=10, size=32)
        write_page(statistics, tmp_path / "page.html", tmp_path / "mosaic.png", tmp_path / "movie.gif")
        return Page(tmp_path / "page.html")

    return write


def test_the_page_is_self_contained_and_holds_the_table(fronts, page):
    shown = page(fronts)
    assert len(shown.images) == 2 + 1 + 3 + 4  # mosaic, movie; traces; an event and both waves; histograms
    for source in shown.images:
        kind, content = re.fullmatch(r"data:image/(png|gif);base64,(.+)", source).groups()
        assert Image.open(io.BytesIO(base64.b64decode(content))).format == kind.upper()
    assert shown.addresses == []
    for row in summary_rows(fronts):
        assert row.quantity in shown.text and f"{row.measured} {row.unit}" in shown.text
    for warning in verdict(fronts):
        assert warning in shown.text
    assert "Incomplete" not in shown.text


def test_the_page_says_what_was_simulated_and_where_values_come_from(fronts, page):
    config = fronts.recording.config
    config["spread"], config["cell"]["g_A"] = {"g_A": 0.01}, 0.123
    text = page(fronts).text
    assert "spacing50 µm" in re.sub(r"> <", "", text) or re.search(r"spacing *50 µm", text)
    assert re.search(r"spread\.g_A *0\.01 nS", text)
    assert re.search(r"g_A *0\.123 nS *acetylcholine conductance[^;]*; *of this configuration", text)
    assert re.search(r"g_K *10 nS *fast potassium conductance; *transcribed from public code", text)


def test_the_page_of_an_incomplete_silent_recording(silence, page):
    part = dataclasses.replace(silence.recording, valid_frames=40, complete=False)
    shown = page(wave_statistics(part))
    assert "Incomplete: the simulation has not reached its end." in shown.text
    assert "Silent: 0 of 192 cells became active in 40 s" in shown.text
    assert "No cell became active." in shown.text
    assert len(shown.images) == 2 + 1 + 4


def test_a_recording_of_one_frame_of_one_cell_has_a_page(recording_of, page):
    recording = open_recording(recording_of(np.full((1, 1, 1), 100, np.float32), 0.1))
    assert "1 × 1 starburst amacrine cells" in page(wave_statistics(recording)).text
