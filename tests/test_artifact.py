import json
import multiprocessing
import os
import signal
import time

import pytest

from rwtl.errors import InputError
from rwtl.study.artifact import build, digest_of


def write_number(folder):
    (folder / "number").write_text("1")


def make(outputs, values, function=write_number, parents=None):
    return build(outputs, "training", "a run", values, function, parents)


def test_made_once_and_reused(tmp_path):
    first = make(tmp_path, {"rate": 0.1})
    assert not first.reused
    again = make(tmp_path, {"rate": 0.1}, function=lambda folder: pytest.fail("made twice"))
    assert again.reused and again.path == first.path == tmp_path / "training" / first.digest
    assert make(tmp_path, {"rate": 0.2}).path != first.path


def test_the_digest_depends_on_values_kind_and_parents_and_not_on_the_order_of_keys():
    base = digest_of("training", {"a": 1, "b": 2}, {})
    assert base == digest_of("training", {"b": 2.0, "a": 1}, {})
    assert (
        len({base, digest_of("evaluation", {"a": 1, "b": 2}, {}), digest_of("training", {"a": 1, "b": 2}, {"x": "y"})})
        == 3
    )


def test_status_says_how_it_was_made(tmp_path):
    parent = make(tmp_path, {"parent": True})
    status = make(tmp_path, {"rate": 0.1}, parents={"source": parent}).status()
    assert status["state"] == "complete"
    assert status["values"] == {"rate": 0.1}
    assert status["parents"] == {"source": parent.digest}
    assert {"torch", "brian2"} <= set(status["packages"])
    assert status["pid"] == os.getpid() and status["started"] <= status["finished"]


def test_a_failure_is_recorded_and_made_anew(tmp_path):
    def fail(folder):
        (folder / "half").write_text("x")
        raise RuntimeError("no more paper")

    with pytest.raises(RuntimeError):
        make(tmp_path, {}, function=fail)
    (folder,) = (path for path in (tmp_path / "training").iterdir() if path.is_dir())
    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["reason"]) == ("failed", "RuntimeError: no more paper")
    made = make(tmp_path, {})
    assert not made.reused and not (made.path / "half").exists()


def slow(folder):
    (folder / "begun").write_text(str(os.getpid()))
    time.sleep(1)
    with (folder.parent / "count").open("a") as file:
        file.write("x")


def make_slowly(outputs):
    make(outputs, {"slow": True}, function=slow)


def test_two_jobs_that_need_the_same_make_it_once(tmp_path):
    jobs = [multiprocessing.get_context("fork").Process(target=make_slowly, args=(tmp_path,)) for _ in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0, 0, 0]
    assert (tmp_path / "training" / "count").read_text() == "x"


def test_a_killed_job_leaves_no_lock_and_its_artifact_is_made_anew(tmp_path):
    job = multiprocessing.get_context("fork").Process(target=make_slowly, args=(tmp_path,))
    job.start()
    while not list(tmp_path.glob("training/*/begun")):
        time.sleep(0.02)
    os.kill(job.pid, signal.SIGKILL)
    job.join()
    made = make(tmp_path, {"slow": True})
    assert not made.reused and not (made.path / "begun").exists()
    assert made.status()["state"] == "complete"


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write to .*/file/training.*paths\.outputs"):
        make(tmp_path / "file", {})
