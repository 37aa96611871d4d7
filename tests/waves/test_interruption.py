"""A simulation that is stopped again and again, by every means, ends with the bits of one that was left alone."""

import os
import random
import re
import signal
import time

import pytest
import tiny

from rwtl.errors import InputError
from rwtl.waves import open_recording

WAVES = ["rows=40", "columns=40", "duration=42", "transient=2", "frame_interval=0.02"]
WAVES += ["spread.g_A=0.01", "cell.sigma=4"]
SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
pytestmark = pytest.mark.slow


def start(outputs):
    return tiny.start("simulate", outputs, *(f"recording.{value}" for value in WAVES), "engine.threads=1")


def recording_in(outputs):
    """The recording, wherever it is while it is made."""
    return next((file.parent for file in outputs.rglob("zarr.json") if file.parent.name == "recording"), None)


def valid_frames(outputs) -> int:
    while True:
        path = recording_in(outputs)
        try:
            return open_recording(path).valid_frames if path else 0
        except InputError:
            if path.exists():
                raise  # else the job that goes on has just taken the folder over, under another name


def programs_below(folder) -> list[str]:
    """Process ids of the compiled programs that run from a folder."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.readlink(f"/proc/{entry}/exe").startswith(str(folder)):
                found.append(entry)
        except OSError:
            pass
    return found


@pytest.fixture(scope="module")
def side_by_side(tmp_path_factory):
    """The outputs folder of two undisturbed jobs that want the same recording at once, and what they print."""
    outputs = tmp_path_factory.mktemp("side_by_side")
    jobs = [start(outputs), start(outputs)]
    said = [job.communicate() for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], said
    return outputs, [errors for _, errors in said]


def test_of_two_jobs_that_want_the_same_recording_one_simulates_and_the_other_waits(side_by_side):
    outputs, printed = side_by_side
    made, waited = sorted(printed, key=lambda text: "simulate: " not in text)
    (path,) = outputs.glob("recording/*")
    assert "simulate: " in made and "simulate: " not in waited
    assert re.search(rf"recording: process \d+ on .* is making {path}; waiting for it", waited)
    assert f"recording: reused {path}" in waited
    assert not [name for name in os.listdir(path) if name.endswith("claims")]


@pytest.fixture(scope="module")
def undisturbed(side_by_side):
    """The frames of a simulation that nobody stops."""
    outputs, texts = side_by_side
    printed = max(texts, key=lambda text: "simulate: " in text)
    assert re.search(r"simulate: [\d.]+/42 s of model time · [\d.]+ × real time · \d+:\d\d left", printed) or (
        "simulate: 42/42 s of model time · took" in printed
    )
    return open_recording(recording_in(outputs)).frames(0, 2000)


def test_stopped_at_random_moments_it_ends_with_the_same_bits(undisturbed, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    outputs = tmp_path / "outputs"
    rng, stopped = random.Random(os.urandom(8)), []
    for how in SIGNALS:
        before, job = valid_frames(outputs), start(outputs)
        # After a kill between state and attributes, frames are added already when the recording is opened again.
        while (valid_frames(outputs) == before or not programs_below(tmp_path)) and job.poll() is None:
            time.sleep(0.05)
        assert job.poll() is None, job.communicate()
        time.sleep(rng.uniform(0, 0.2))
        job.send_signal(how)
        _, errors = job.communicate()
        assert job.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[how], errors
        if how is not signal.SIGKILL:
            assert "Traceback" not in errors and "the same line goes on from there" in errors
        recording = open_recording(recording_in(outputs))
        stopped.append(recording.valid_frames)
        assert not recording.complete and recording.valid_frames > before
        kept = recording.frames(0, recording.valid_frames)
        assert kept.tobytes() == undisturbed[: recording.valid_frames].tobytes()
    job = start(outputs)
    _, errors = job.communicate()
    assert job.returncode == 0, errors
    assert f"going on after {stopped[-1]} frames that an interrupted simulation left" in errors
    assert open_recording(recording_in(outputs)).frames(0, 2000).tobytes() == undisturbed.tobytes()
    deadline = time.monotonic() + 300
    while programs_below(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    print("stopped after", stopped, "of 2000 frames")


def test_the_frames_are_waves(undisturbed):
    assert 40 < undisturbed.min() and undisturbed.max() < 700
    assert undisturbed.max() > 300
