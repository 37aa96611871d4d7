"""Recordings on disk: what is written when, and what a reader may see."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import zarr
from PIL import Image

from rwtl.errors import InputError
from rwtl.waves import RecordingConfig, SacParameters, open_recording, simulate
from rwtl.waves.pictures import draw_mosaic, write_movie
from rwtl.waves.recording import RecordingWriter

CONFIG = RecordingConfig(
    rows=5,
    columns=7,
    spacing=50.0,
    duration=16.0,
    transient=1.0,
    time_step=2e-4,
    frame_interval=0.1,
    seed=11,
    cell=SacParameters(),
)
FRAMES = 150


def frame_of(number: int) -> np.ndarray:
    return (number + np.arange(35, dtype=np.float32) / 100).reshape(5, 7)


class CountingEngine:
    """Frame k of the simulation, the transient included, holds k."""

    def frames(self, config):
        for number in range(config.simulated_frames):
            yield frame_of(number)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "recording.zarr"


def test_the_transient_is_left_out_and_the_rest_is_kept(path):
    simulate(CONFIG, CountingEngine(), path)
    recording = open_recording(path)
    assert (recording.complete, recording.valid_frames) == (True, FRAMES)
    np.testing.assert_array_equal(recording.frames(0, FRAMES), [frame_of(number) for number in range(10, 160)])
    np.testing.assert_array_equal(recording.frames(149, 150), [frame_of(159)])


def test_the_format_is_the_documented_one(path):
    simulate(CONFIG, CountingEngine(), path)
    group = zarr.open_group(path, mode="r")
    calcium = group["calcium"]
    assert (calcium.metadata.zarr_format, calcium.dtype, calcium.shape) == (3, np.float32, (150, 5, 7))
    assert (calcium.chunks, calcium.shards) == ((1, 5, 7), (64, 5, 7))
    assert calcium.metadata.dimension_names == ("frame", "row", "column")
    attributes = dict(group.attrs)
    assert attributes.pop("config") == dataclasses.asdict(CONFIG)
    assert attributes == {
        "valid_frames": 150,
        "complete": True,
        "frame_interval": 0.1,
        "first_frame_time": 1.1,
        "spacing": 50.0,
        "seed": 11,
    }


def test_a_reader_sees_only_whole_shards_of_an_unfinished_recording(path):
    writer = RecordingWriter(path, CONFIG)
    for number in range(100):
        writer.write(frame_of(number))
        assert open_recording(path).valid_frames == (number + 1) // 64 * 64
    recording = open_recording(path)
    assert not recording.complete
    np.testing.assert_array_equal(recording.frames(0, 64), [frame_of(number) for number in range(64)])
    for start, stop in ((0, 65), (64, 65), (-1, 3), (5, 5)):
        with pytest.raises(
            InputError, match=rf"recording\.zarr: frames {start} to {stop} .*frames 0 to 64 .*incomplete"
        ):
            recording.frames(start, stop)


def test_a_recording_that_lacks_frames_is_not_finished(path):
    with pytest.raises(ValueError, match="lacks 150 of its 150 frames"):
        RecordingWriter(path, CONFIG).finish()
    assert not open_recording(path).complete


def test_an_unfinished_recording_is_started_over_and_a_complete_one_is_not(path):
    writer = RecordingWriter(path, CONFIG)
    for number in range(64):
        writer.write(frame_of(number))
    simulate(CONFIG, CountingEngine(), path)
    assert open_recording(path).complete
    with pytest.raises(InputError, match=r"recording\.zarr is a complete recording: remove it"):
        simulate(CONFIG, CountingEngine(), path)


def test_other_folders_are_neither_read_nor_overwritten(tmp_path):
    (tmp_path / "note.txt").write_text("keep me")
    with pytest.raises(InputError, match="is not a recording"):
        open_recording(tmp_path)
    with pytest.raises(InputError, match="exists and is not a recording: remove it"):
        simulate(CONFIG, CountingEngine(), tmp_path)
    assert (tmp_path / "note.txt").read_text() == "keep me"
    with pytest.raises(InputError, match="nowhere does not exist"):
        open_recording(tmp_path / "nowhere")


def test_a_failed_integration_is_reported(path):
    class FailingEngine:
        def frames(self, config):
            yield np.full((5, 7), np.nan, np.float32)

    with pytest.raises(InputError, match=r"calcium is not finite at 0\.1 s .*time_step, now 0\.0002 s"):
        simulate(CONFIG, FailingEngine(), path)


def test_a_damaged_shard_is_noticed(path):
    simulate(CONFIG, CountingEngine(), path)
    shard = path / "calcium" / "c" / "1" / "0" / "0"
    damaged = bytearray(shard.read_bytes())
    damaged[40] ^= 1
    shard.write_bytes(damaged)
    recording = open_recording(path)
    recording.frames(0, 64)
    with pytest.raises(ValueError, match="checksum"):
        recording.frames(64, 128)


def test_a_killed_simulation_leaves_whole_shards_and_no_program(path, tmp_path):
    script = """
import sys
from pathlib import Path
from rwtl.waves import RecordingConfig, SacParameters, simulate
from rwtl.waves.cpp_engine import CppEngine
config = RecordingConfig(6, 9, 50.0, 1e6, 0.0, 2e-4, 0.01, 1, SacParameters())
simulate(config, CppEngine(1, "float32"), Path(sys.argv[1]))
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    writer = subprocess.Popen([sys.executable, "-c", script, str(path)], env=environment)
    try:
        deadline = time.monotonic() + 60
        while not (path.exists() and open_recording(path).valid_frames):
            assert writer.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        programs = simulations_below(tmp_path)
        assert programs
        writer.send_signal(signal.SIGKILL)
    finally:
        writer.kill()
        writer.wait()
    recording = open_recording(path)
    assert not recording.complete
    assert recording.valid_frames % 64 == 0
    calcium = recording.frames(0, recording.valid_frames)
    assert 40 < calcium.min() and calcium.max() < 700
    while simulations_below(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def simulations_below(folder) -> list[str]:
    """Process ids of the compiled programs that run from a folder."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.readlink(f"/proc/{entry}/exe").startswith(str(folder)):
                found.append(entry)
        except OSError:
            pass
    return found


def test_pictures_are_written(path, tmp_path):
    simulate(CONFIG, CountingEngine(), path)
    recording = open_recording(path)
    draw_mosaic(recording, tmp_path / "mosaic.png", panels=5, columns=3)
    write_movie(recording, tmp_path / "movie.gif", frames=7, size=64)
    assert (tmp_path / "mosaic.png").read_bytes().startswith(b"\x89PNG")
    with Image.open(tmp_path / "movie.gif") as movie:
        assert (movie.n_frames, movie.size) == (7, (63, 45))
    with pytest.raises(InputError, match=r"movie\.mp4 does not end in \.gif"):
        write_movie(recording, tmp_path / "movie.mp4")
