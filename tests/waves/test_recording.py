"""Recordings on disk: what is written when, and what a reader may see."""

import dataclasses
import os
import random
import subprocess
import sys

import numpy as np
import pytest
import zarr
from PIL import Image

from rwtl.errors import InputError
from rwtl.waves import RecordingConfig, SacParameters, open_recording, simulate
from rwtl.waves.model.state import VARIABLES, Snapshot, load_snapshot
from rwtl.waves.page.figures import draw_mosaic, write_movie
from rwtl.waves.simulation import Frame
from rwtl.waves.store import RecordingWriter

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
    """After n frame intervals calcium is n, and so is the state; a simulation that goes on from another state shows."""

    def __init__(self, stop_after: int = 10**9):
        self.stop_after = stop_after
        self.started_at = None

    def frames(self, config, start):
        self.started_at = start.frame
        count = float(start.values["r"][0, 0]) if start.frame else 0.0
        for number in range(start.frame + 1, config.simulated_frames + 1):
            count += 1
            values = {name: np.full((5, 7), count, np.float32) for name in VARIABLES}
            if number > self.stop_after:
                raise KeyboardInterrupt
            yield Frame(number, frame_of(count), Snapshot(number, values) if config.has_snapshot(number) else None)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "recording.zarr"


def interrupted(path, after: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        simulate(CONFIG, CountingEngine(stop_after=after), path)


def test_the_transient_is_left_out_and_the_rest_is_kept(path):
    simulate(CONFIG, CountingEngine(), path)
    recording = open_recording(path)
    assert (recording.complete, recording.valid_frames) == (True, FRAMES)
    np.testing.assert_array_equal(recording.frames(0, FRAMES), [frame_of(number) for number in range(11, 161)])
    np.testing.assert_array_equal(recording.frames(149, 150), [frame_of(160)])


def test_the_folder_of_a_recording_is_made(tmp_path):
    path = tmp_path / "of" / "mine" / "recording.zarr"
    simulate(CONFIG, CountingEngine(), path)
    assert open_recording(path).complete and [file.name for file in path.parent.iterdir()] == ["recording.zarr"]


def test_the_format_is_the_documented_one(path):
    simulate(CONFIG, CountingEngine(), path)
    group = zarr.open_group(path, mode="r")
    calcium = group["calcium"]
    assert (calcium.metadata.zarr_format, calcium.dtype, calcium.shape) == (3, np.float32, (150, 5, 7))
    assert (calcium.chunks, calcium.shards) == ((1, 5, 7), (64, 5, 7))
    assert calcium.metadata.dimension_names == ("frame", "row", "column")
    attributes = dict(group.attrs)
    assert attributes.pop("config") == dataclasses.asdict(CONFIG)
    shards = attributes.pop("shards")
    assert len(set(shards)) == 3 and {len(each) for each in shards} == {16}
    assert attributes == {
        "valid_frames": 150,
        "complete": True,
        "frame_interval": 0.1,
        "first_frame_time": 1.1,
        "spacing": 50.0,
        "seed": 11,
        "model_version": 2,
        "format": 2,
    }
    assert sorted(file.name for file in path.iterdir()) == ["calcium", "zarr.json"]


@pytest.mark.parametrize(
    ("after", "valid", "state"),
    # Shards end 64 and 128 frames after the 10 of the transient, which has no snapshot of its own but at its end.
    [(9, 0, None), (10, 0, 10), (73, 0, 10), (74, 64, 74), (137, 64, 74), (138, 128, 138), (159, 128, 138)],
)
def test_what_an_interruption_leaves_is_readable_and_resumed(path, after, valid, state):
    interrupted(path, after)
    recording = open_recording(path)
    assert (recording.complete, recording.valid_frames) == (False, valid)
    if valid:
        expected = [frame_of(number) for number in range(11, 11 + valid)]
        np.testing.assert_array_equal(recording.frames(0, valid), expected)
    for start, stop in ((0, valid + 1), (valid, valid + 1), (-1, 3), (5, 5)):
        with pytest.raises(
            InputError, match=rf"recording\.zarr: frames {start} to {stop} .*frames 0 to {valid} .*incomplete"
        ):
            recording.frames(start, stop)
    engine = CountingEngine()
    simulate(CONFIG, engine, path)
    assert engine.started_at == (state or 0)
    np.testing.assert_array_equal(
        open_recording(path).frames(0, FRAMES), [frame_of(number) for number in range(11, 161)]
    )


def test_a_reader_sees_only_whole_shards_while_it_is_written(path):
    seen = []

    def look(_):
        if path.exists():
            recording = open_recording(path)
            seen.append(recording.valid_frames)
            if recording.valid_frames:
                last = recording.frames(recording.valid_frames - 1, recording.valid_frames)[0]
                np.testing.assert_array_equal(last, frame_of(10 + recording.valid_frames))

    simulate(CONFIG, CountingEngine(), path, progress=look)
    assert seen == sorted(seen) and {0, 64} <= set(seen) <= {0, 64, 128}


def test_a_kill_between_state_and_attributes_loses_nothing(path):
    interrupted(path, 80)
    group = zarr.open_group(path, mode="r+")
    group.update_attributes({"valid_frames": 0, "shards": []})
    (path / "state.npz.partial").write_bytes(b"half a sta")
    engine = CountingEngine()
    simulate(CONFIG, engine, path)
    assert engine.started_at == 74
    assert open_recording(path).frames(0, FRAMES).shape == (150, 5, 7)
    assert not list(path.rglob("*.partial"))


def test_a_recording_that_lacks_frames_is_not_finished(path):
    with RecordingWriter(path, CONFIG) as writer, pytest.raises(ValueError, match="ends after 0 of 160 frames"):
        writer.finish()
    assert not open_recording(path).complete


def test_frames_must_come_in_order(path):
    with RecordingWriter(path, CONFIG) as writer, pytest.raises(ValueError, match="frame 2 comes after 0 of 160"):
        writer.write(2, frame_of(2), None)


def test_a_complete_recording_is_not_overwritten(path):
    simulate(CONFIG, CountingEngine(), path)
    with pytest.raises(InputError, match=r"recording\.zarr is a complete recording: remove it"):
        simulate(CONFIG, CountingEngine(), path)


def test_an_unfinished_recording_of_another_configuration_is_left_alone(path):
    interrupted(path, 80)
    other = dataclasses.replace(CONFIG, cell=SacParameters(g_A=0.2))
    with pytest.raises(InputError, match=r"another configuration \(recording\.cell\.g_A is 0\.1 in it and 0\.2 here\)"):
        simulate(other, CountingEngine(), path)
    assert open_recording(path).valid_frames == 64


@pytest.mark.parametrize("name", ["model_version", "format"])
def test_a_recording_of_another_version_is_refused(path, name):
    interrupted(path, 80)
    zarr.open_group(path, mode="r+").attrs[name] = 1
    message = rf"recording\.zarr has {name} 1, and this version of rwtl makes and reads 2: simulate it anew"
    with pytest.raises(InputError, match=message):
        open_recording(path)
    with pytest.raises(InputError, match=message):
        simulate(CONFIG, CountingEngine(), path)


def test_a_disk_that_is_too_small_is_told_before_anything_starts(path):
    huge = dataclasses.replace(CONFIG, rows=40000, columns=40000, duration=1e5)
    needed = 4 * (1e6 - 10) * 40000**2 / 1e9
    with pytest.raises(
        InputError, match=rf"999990 frames of 40000 × 40000 cells take up to {needed:.0f}\.\d\d GB more"
    ):
        simulate(huge, CountingEngine(), path)
    assert not path.exists()


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
        def frames(self, config, start):
            yield Frame(1, np.full((5, 7), np.nan, np.float32), None)

    with pytest.raises(InputError, match=r"calcium is not finite at 0\.1 s .*time_step, now 0\.0002 s"):
        simulate(CONFIG, FailingEngine(), path)


@pytest.mark.slow
def test_any_damage_is_refused_by_name_or_harmless(path):
    """Bytes flipped, cut off, added and removed, in every file: the reader names it, or returns what was written."""
    simulate(CONFIG, CountingEngine(), path)
    whole = open_recording(path).frames(0, FRAMES)
    shards = [file for file in (path / "calcium" / "c").rglob("*") if file.is_file()]
    assert len(shards) == 3
    rng = random.Random(0)
    refused = 0
    for trial in range(60):
        file = rng.choice(shards)
        content = file.read_bytes()
        place = rng.randrange(len(content))
        if trial % 3 == 0:
            damaged = content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :]
        elif trial % 3 == 1:
            damaged = content[:place]
        else:
            damaged = None
        file.unlink() if damaged is None else file.write_bytes(damaged)
        try:
            np.testing.assert_array_equal(open_recording(path).frames(0, FRAMES), whole)
        except InputError as error:
            number = file.relative_to(path / "calcium" / "c").parts[0]
            assert f"{path}/calcium/c/{number}, frames" in str(error) and "is damaged" in str(error)
            refused += 1
        file.write_bytes(content)
    assert refused > 50
    np.testing.assert_array_equal(open_recording(path).frames(0, FRAMES), whole)


def test_a_damaged_state_is_named_and_not_gone_on_from(path):
    interrupted(path, 80)
    state = path / "state.npz"
    content = state.read_bytes()
    for damaged in (content[:-50], content[:300] + bytes([content[300] ^ 4]) + content[301:], b"", None):
        state.unlink() if damaged is None else state.write_bytes(damaged)
        with pytest.raises(InputError, match=r"state\.npz, from which .* missing.*remove .*recording\.zarr"):
            simulate(CONFIG, CountingEngine(), path)
    state.write_bytes(content)
    assert load_snapshot(state).frame == 74
    simulate(CONFIG, CountingEngine(), path)
    assert open_recording(path).complete


@pytest.mark.slow
def test_a_full_disk_keeps_what_was_written_and_is_gone_on_from(path, tmp_path):
    """A real full disk: a file system of 36 kB in memory, in a name space of its own."""
    script = """
import sys
import threading
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import test_recording as t
from rwtl.waves import store as recording
recording._MARGIN = -1e9  # the check before the start would refuse
try:
    t.simulate(t.CONFIG, t.CountingEngine(), Path(sys.argv[1]) / "recording")
except OSError as error:
    print("stopped:", error)
"""
    mount, room = tmp_path / "small", 36 * 1024
    mount.mkdir()
    here = os.path.dirname(__file__)
    python = f"{sys.executable} -c '{script}' {mount} {here}"
    command = (
        f"mount -t tmpfs -o size={room} none {mount} && {python} && cp -r {mount}/recording {tmp_path}/kept "
        f"&& mount -o remount,size=8M {mount} && {python} && cp -r {mount}/recording {tmp_path}/finished"
    )
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this system gives no name spaces to make a small disk in")
    done = subprocess.run(["unshare", "-rm", "sh", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "stopped: [Errno 28] No space left on device" in done.stdout
    kept, finished = open_recording(tmp_path / "kept"), open_recording(tmp_path / "finished")
    assert not kept.complete and kept.valid_frames == 64
    np.testing.assert_array_equal(finished.frames(0, FRAMES), [frame_of(number) for number in range(11, 161)])
    assert finished.complete


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
