"""A process that was stopped for longer than the lease wakes after its successor: it changes nothing, and reuses.

Both are real processes. The one that is stopped says that it is on another machine, for of one on the same machine the
other sees that it lives, and waits.
"""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from rwtl.pipeline import artifact as artifacts
from rwtl.pipeline import claim as claims
from rwtl.pipeline.artifact import Artifact, build
from rwtl.pipeline.claim import TakenOver
from rwtl.pipeline.status import claims_of, unfinished
from rwtl.progress import require_ours

STEPS = 10
WAIT = 60.0  # s, at most, for what takes a few

# It makes an artifact in steps, each of which is saved for a later job to resume from. Arguments: outputs, host's name,
# whether it can be resumed, whether it shows progress, and the step before which it waits for a line.
MAKE = """
import sys
from pathlib import Path
from rwtl.errors import InputError
from rwtl.files import write_atomically
from rwtl.pipeline import claim as claims
from rwtl.pipeline.artifact import Artifact, build
from rwtl.progress import Progress

outputs, host = Path(sys.argv[1]), sys.argv[2]
resumable, shows, stop = map(int, sys.argv[3:])
claims._machine = lambda: host
claims.HEARTBEAT, claims.LEASE, claims.POLL = 0.05, 0.3, 0.02

def make(folder):
    file, progress = folder / "steps", Progress("work", 10, "steps")
    done = int(file.read_text()) if file.exists() else 0
    for step in range(done, 10):
        if step == stop:
            print("stop here", flush=True)
            sys.stdin.readline()
        if shows:
            progress(step)
        (folder / "shards").mkdir(parents=True, exist_ok=True)  # as Zarr does
        (folder / "shards" / str(step)).write_text(host)
        write_atomically(file, str(step + 1))
    if stop == 10:
        print("stop here", flush=True)
        sys.stdin.readline()

try:
    build(Artifact("training", "a run", {}, make, outputs, resumable=bool(resumable)))
except InputError as error:
    print(f"error: {error}", flush=True)
    sys.exit(1)
print("made", flush=True)
"""


def started(outputs, host, resumable, shows, stop, ignored=False):
    command = [sys.executable, "-c", MAKE, str(outputs), host, str(int(resumable)), str(int(shows)), str(stop)]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignored else None,
    )


def until_it_stops(job):
    for line in job.stdout:
        if line == "stop here\n":
            return
    raise AssertionError("it ended")


def contents(folder):
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


def wake(job):
    """Let a stopped process go on."""
    os.kill(job.pid, signal.SIGCONT)
    job.stdin.write("\n")
    job.stdin.flush()


def end(job):
    """Wait for a process that was taken over, which says so and then reuses what the other has made."""
    said, _ = job.communicate(timeout=WAIT)
    assert job.returncode == 0 and re.search(
        "was taken over by another job.*\n(.*\n)?a run: reused .*\nmade\n$", said
    ), said


@pytest.mark.parametrize("ignored", [False, True], ids=["", "SIGINT ignored"])
@pytest.mark.parametrize("shows", [False, True], ids=["silent", "shows progress"])
@pytest.mark.parametrize("stop", [4, STEPS], ids=["half-way", "at the end"])
@pytest.mark.parametrize("resumable", [False, True], ids=["made anew", "resumed"])
def test_after_its_successor_has_finished(tmp_path, resumable, stop, shows, ignored):
    first = started(tmp_path, "one", resumable, shows, stop, ignored)
    until_it_stops(first)
    os.kill(first.pid, signal.SIGSTOP)
    second = started(tmp_path, "two", resumable, shows, -1)
    assert second.wait(WAIT) == 0
    (path,) = (tmp_path / "training").iterdir()
    before = contents(path)
    wake(first)
    end(first)
    assert contents(path) == before
    made_by = ["one"] * (stop if resumable else 0) + ["two"] * (STEPS - (stop if resumable else 0))
    assert [(path / "shards" / str(step)).read_text() for step in range(STEPS)] == made_by
    assert Artifact.at(path).state() == "complete"


@pytest.mark.parametrize("ignored", [False, True], ids=["", "SIGINT ignored"])
@pytest.mark.parametrize("resumable", [False, True], ids=["made anew", "resumed"])
def test_while_its_successor_works(tmp_path, resumable, ignored):
    first = started(tmp_path, "one", resumable, True, 4, ignored)
    until_it_stops(first)
    os.kill(first.pid, signal.SIGSTOP)
    second = started(tmp_path, "two", resumable, True, 7)
    until_it_stops(second)
    (work,) = (tmp_path / "unfinished" / "training").iterdir()
    wake(first)
    time.sleep(1)
    second.communicate("\n", timeout=WAIT)
    assert second.returncode == 0
    end(first)
    path = tmp_path / "training" / work.name
    made_by = ["one"] * (4 if resumable else 0) + ["two"] * (STEPS - (4 if resumable else 0))
    assert [(path / "shards" / str(step)).read_text() for step in range(STEPS)] == made_by
    assert not work.exists()


def number(folder):
    (folder / "number").write_text("1")


def test_the_removal_of_its_claims_does_not_make_finished_work_failed(tmp_path):
    def make(folder):
        for claim in (folder.parent / "claims").iterdir():
            claim.unlink()
        (folder.parent / "claims").rmdir()
        number(folder)

    made = build(Artifact("training", "a run", {}, make, tmp_path))
    assert made.state() == "complete" and (made.path / "number").read_text() == "1"
    assert not unfinished(made.path).exists()


@pytest.mark.parametrize("place", ["rename", "rmtree"])
def test_a_signal_after_the_end_leaves_it_complete(tmp_path, monkeypatch, place):
    """Ctrl-C just after the artifact took its place, and while the claims are cleared away."""
    real, module = (os.rename, os) if place == "rename" else (claims.shutil.rmtree, claims.shutil)

    def interrupted(first, *others, **named):
        real(first, *others, **named)
        if place == "rmtree" or not str(others[0]).endswith("-x"):
            raise KeyboardInterrupt

    artifact = Artifact("training", "a run", {}, number, tmp_path)
    monkeypatch.setattr(module, place, interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(artifact)
    monkeypatch.undo()
    assert artifact.state() == "complete"
    assert build(artifact).reused and not unfinished(artifact.path).exists()


def test_a_checkpoint_is_kept_until_what_it_led_to_is_in_place(tmp_path, monkeypatch):
    def make(folder):
        (folder / "training.ckpt").touch()
        number(folder)

    artifact = Artifact("training", "a run", {}, make, tmp_path, resumable=True)
    real = os.rename

    def refuse(*_):
        raise OSError("the file server is away")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(OSError, match="away"):
        build(artifact)
    monkeypatch.setattr(os, "rename", real)
    assert artifact.state() == "failed" and next(unfinished(artifact.path).glob("*/training.ckpt"))
    made = build(artifact)
    assert not (made.path / "training.ckpt").exists()


def taken_over_by_another(path, held):
    """What a job on another machine does when a claim was silent for the lease; returns its claim and its attempt."""
    later = claims.Claim(claims._create(claims._file(claims_of(path), held.number + 1)))
    attempt = artifacts._take_over(path, later)
    artifacts.write_status(attempt, {"state": "running"})
    later.fence = attempt / "status.json"
    return later, attempt


@pytest.mark.parametrize("place", ["before it looks", "as it renames"])
def test_a_job_that_is_stopped_as_it_begins_leaves_its_successor_alone(tmp_path, monkeypatch, place):
    """It may be stopped at any line between its claim and its attempt, and wake when another job works."""

    def make(folder):
        (folder / "step").write_text("1")
        raise ValueError("the node failed")

    artifact = Artifact("training", "a run", {}, make, tmp_path, resumable=True)
    with pytest.raises(ValueError, match="node"):
        build(artifact)
    held = claims.claim(claims_of(artifact.path), lambda: False, print)
    rename, other = os.rename, []

    def stopped(*paths):
        monkeypatch.undo()
        other.extend(taken_over_by_another(artifact.path, held))
        return rename(*paths)

    if place == "as it renames":
        monkeypatch.setattr(os, "rename", stopped)
    else:
        other.extend(taken_over_by_another(artifact.path, held))
    with pytest.raises(TakenOver):
        artifacts._take_over(artifact.path, held)
    later, attempt = other
    assert (attempt / "step").read_text() == "1"
    later.require()
    later.release()


def test_the_removal_of_its_attempt_lets_a_job_begin_anew(tmp_path):
    """Its claim is still there: it must not wait for itself."""
    begun = []

    def make(folder):
        begun.append(folder)
        if len(begun) == 1:
            shutil.rmtree(folder)
            require_ours()
        number(folder)

    assert build(Artifact("training", "a run", {}, make, tmp_path)).state() == "complete" and len(begun) == 2


def test_ctrl_c_before_anything_is_made_gives_the_claim_back(tmp_path, monkeypatch):
    """In a notebook the process lives on, and the same call must not wait for it."""

    def interrupted():
        raise KeyboardInterrupt

    artifact = Artifact("training", "a run", {}, number, tmp_path)
    monkeypatch.setattr(artifacts, "provenance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(artifact)
    monkeypatch.undo()
    assert claims.holder_of(claims_of(artifact.path)) is None
    assert build(artifact).state() == "complete"


def test_what_an_earlier_job_has_open_is_not_what_its_successor_finishes(tmp_path):
    """It was stopped within a write, whose rest goes to the file that it has open, wherever that is by then."""
    opened = []

    def stopped(folder):
        opened.append(open(folder / "movie.gif", "w"))
        opened[0].write("one")
        opened[0].flush()
        raise ValueError("stopped")

    def make(folder):
        assert (folder / "movie.gif").read_text() == "one"  # what is there is gone on with
        (folder / "movie.gif").write_text("from two")

    with pytest.raises(ValueError, match="stopped"):
        build(Artifact("training", "a run", {}, stopped, tmp_path, resumable=True))
    made = build(Artifact("training", "a run", {}, make, tmp_path, resumable=True))
    with opened[0] as file:
        file.write(", and one has woken")
    assert made.file("movie.gif").read_text() == "from two"
