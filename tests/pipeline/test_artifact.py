import errno
import json
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from dataclasses import asdict, replace

import pytest
from omegaconf import OmegaConf

from rwtl.errors import InputError
from rwtl.pipeline import claim as claims
from rwtl.pipeline.artifact import Artifact, build
from rwtl.pipeline.claim import this_process
from rwtl.pipeline.status import digest_of, folder_of, read_status, state_of, write_status

SPAWNED = multiprocessing.get_context("spawn")  # a fork of a process that has used torch's threads can hang
WAIT = 120.0  # s, at most, for what takes a few


def write_number(folder):
    (folder / "number").write_text("1")


def planned(outputs, values, function=write_number, parents=None, **others):
    return Artifact("training", "a run", values, function, outputs, parents or {}, **others)


def make(outputs, values, function=write_number, parents=None, **others):
    return build(planned(outputs, values, function, parents, **others))


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
    assert {"git_commit", "git_dirty", "host", "python", "command", "format"} <= set(status)


def test_a_failure_is_recorded_and_made_anew(tmp_path):
    def fail(folder):
        (folder / "half").write_text("x")
        raise RuntimeError("no more paper")

    with pytest.raises(RuntimeError):
        make(tmp_path, {}, function=fail)
    status = planned(tmp_path, {}).status()
    assert (status["state"], status["reason"]) == ("failed", "RuntimeError: no more paper")
    made = make(tmp_path, {})
    assert not made.reused and not (made.path / "half").exists()


def slow(folder):
    (folder / "begun").write_text(str(os.getpid()))
    time.sleep(1)
    with (folder.parents[3] / "count").open("a") as file:
        file.write("x")


def make_slowly(outputs):
    make(outputs, {"slow": True}, function=slow)


def wait_for_begin(outputs):
    last = time.monotonic() + WAIT
    while not list(outputs.glob("unfinished/training/*/*/begun")):
        assert time.monotonic() < last
        time.sleep(0.02)


def test_two_jobs_that_need_the_same_make_it_once(tmp_path):
    jobs = [SPAWNED.Process(target=make_slowly, args=(tmp_path,)) for _ in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(WAIT)
    assert [job.exitcode for job in jobs] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "x"


def test_a_killed_job_leaves_no_lock_and_its_artifact_is_made_anew(tmp_path):
    job = SPAWNED.Process(target=make_slowly, args=(tmp_path,))
    job.start()
    wait_for_begin(tmp_path)
    os.kill(job.pid, signal.SIGKILL)
    job.join(WAIT)
    made = make(tmp_path, {"slow": True})
    assert not made.reused and not (made.path / "begun").exists()
    assert made.status()["state"] == "complete"


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write to .*/file .*paths\.outputs"):
        make(tmp_path / "file", {})


def test_the_whole_configuration_is_kept_with_its_interpolations(tmp_path):
    config = OmegaConf.create({"a": 1, "b": {"c": "${a}", "d": "???", "e": ["${b.d}", "${a}"]}})
    made = make(tmp_path, {}, config=config)
    kept = OmegaConf.load(made.path / "config.yaml")
    assert OmegaConf.to_container(kept, resolve=False) == {"a": 1, "b": {"c": 1, "d": "???", "e": ["${b.d}", 1]}}


def test_a_resumable_one_goes_on_with_what_is_there_and_remembers_who_made_it(tmp_path):
    def fail(folder):
        (folder / "half").write_text("x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, {}, fail, resumable=True)
    path = planned(tmp_path, {}).path
    assert state_of(path) == "interrupted" and not path.exists() and (folder_of(path) / "half").exists()
    made = make(tmp_path, {}, lambda folder: (folder / "half").rename(folder / "whole"), resumable=True)
    assert (made.path / "whole").read_text() == "x"
    (before,) = made.status()["history"]
    assert before["state"] == "interrupted" and before["pid"] == os.getpid() and before["git_commit"]


def test_one_that_waits_says_for_whom_and_reminds(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(claims, "REMIND", 0.2)
    monkeypatch.setattr(claims, "POLL", 0.05)
    job = SPAWNED.Process(target=make_slowly, args=(tmp_path,))
    job.start()
    wait_for_begin(tmp_path)
    path = planned(tmp_path, {"slow": True}).path
    assert state_of(path) == "running"
    assert make(tmp_path, {"slow": True}).reused
    job.join(WAIT)
    first, *others = capsys.readouterr().err.splitlines()
    assert first == f"a run: process {job.pid} on {os.uname().nodename} is making {path}; waiting for it"
    assert others[0].startswith("a run: has waited 0 s for process") and others[-1] == f"a run: reused {path}"


def test_a_clock_that_differs_is_named(tmp_path, capsys):
    folder = tmp_path / "claims"
    folder.mkdir()
    (folder / "000001").write_text("{}")
    os.utime(folder / "000001", (0, time.time() + 3600))
    say = claims.Waiting("a run", tmp_path, folder)
    for silence in (0.0, 0.5, 0.5):
        say(claims.this_process(), silence)
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "the clock of" in line)
    assert "3600 s ahead of this host's" in line or "3599 s" in line


def copy_number(parent):
    return lambda folder: (folder / "number").write_text((parent.path / "number").read_text() + "2")


def chain(outputs):
    """A plan of three: two are made from the first, and the last from both."""
    first = planned(outputs, {"first": 1})
    second = planned(outputs, {"second": 2}, copy_number(first), {"first": first})
    return planned(outputs, {"third": 3}, copy_number(second), {"first": first, "second": second})


def test_a_plan_says_what_is_there_and_makes_nothing(tmp_path):
    last = chain(tmp_path)
    first, second, third = last.ancestors()
    assert third is last and list(second.parents.values()) == [first] and last.reused is None
    assert [artifact.state() for artifact in last.ancestors()] == ["missing"] * 3
    assert [artifact.digest for artifact in last.missing()] == [first.digest, second.digest, third.digest]
    assert not (tmp_path / "training").exists()


def test_what_is_missing_is_made_parents_first_and_each_once(tmp_path, capsys):
    last = chain(tmp_path)
    first, second, _ = last.ancestors()
    assert not build(first).reused
    assert [artifact.digest for artifact in last.missing()] == [second.digest, last.digest]
    made = build(last)
    assert (made.path / "number").read_text() == "122" and made.digest == last.digest and not made.reused
    assert last.status()["parents"] == {"first": first.digest, "second": second.digest}
    said = capsys.readouterr().err
    assert said.count("a run: making") == 3 and "reused" not in said, "what was made here need not be said to be there"


def test_of_one_that_is_complete_nothing_upstream_is_made_again(tmp_path):
    last = build(chain(tmp_path))
    shutil.rmtree(last.ancestors()[0].path)
    assert chain(tmp_path).missing() == [] and build(chain(tmp_path)).reused
    assert last.ancestors()[0].state() == "missing"


def test_what_is_reused_is_checked(tmp_path):
    def refuse(folder):
        raise InputError(f"{folder} is damaged")

    make(tmp_path, {}, check=refuse)
    with pytest.raises(InputError, match="is damaged"):
        make(tmp_path, {}, check=refuse)


def test_one_that_was_found_is_read_and_not_made(tmp_path):
    made = make(tmp_path, {"rate": 1})
    found = Artifact.at(made.path)
    assert (found.kind, found.digest, found.path, found.state()) == ("training", made.digest, made.path, "complete")
    assert build(found).reused
    shutil.rmtree(made.path)
    with pytest.raises(InputError, match="is not complete, and only who planned it can make it"):
        build(found)


def test_a_damaged_status_is_named(tmp_path):
    made = make(tmp_path, {})
    (made.path / "status.json").write_text('{"state": "comp')
    with pytest.raises(InputError, match=r"status\.json is damaged .*; remove .*, and it is made anew"):
        make(tmp_path, {})


STATUS = {"state": "complete", "label": "a", "parents": {}, "history": [], "started": "2026-01-01T00:00:00+00:00"}
WRONG = {
    "state": [None, 3, "done", [], "COMPLETE"],
    "label": [3, None, ["a"]],
    "format": ["2", None, 2.5, [2]],
    "values": [3, [], "a"],
    "parents": [[], "a", {"source": 3}, {"source": "../../etc"}, {"source": None}, {"source": "x" * 12}],
    "history": [{}, "a", [3], [{"started": 3, "state": "failed"}], [{"state": "failed", "finished": "soon"}], [[]]],
    "started": ["now", 3, "2026-01-01T00:00:00"],
    "finished": ["", 1e300, "99999-01-01T00:00:00+00:00"],
    "reason": [3, None, ["a"]],
    "files": [[], {"model.pt": 3}, "a"],
}
CASES = [(key, value) for key, values in WRONG.items() for value in values]


@pytest.mark.parametrize(("key", "value"), CASES, ids=[f"{key}={value!r:.30}" for key, value in CASES])
def test_a_status_with_a_value_of_another_type_is_damaged(tmp_path, key, value):
    made = make(tmp_path, {})
    (made.path / "status.json").write_text(json.dumps(STATUS | {key: value}))
    with pytest.raises(
        InputError, match=rf"status\.json is damaged \({key}.*\); remove .*, and it is made anew"
    ) as error:
        read_status(made.path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["[]", "3", "null", '"complete"', "{}", "", "[" * 100_000])
def test_a_status_that_is_none_is_damaged(tmp_path, content):
    made = make(tmp_path, {})
    (made.path / "status.json").write_text(content)
    for look in (read_status, state_of):
        with pytest.raises(InputError, match=r"status\.json is damaged"):
            look(made.path)


def test_a_folder_that_is_not_the_artifacts_is_named_where_it_cannot_be_used(tmp_path):
    def make(folder):
        raise PermissionError(13, "Permission denied", "/elsewhere/main")

    with pytest.raises(InputError, match=r"^.*: cannot use /elsewhere/main \(Permission denied\); what is finished is"):
        build(Artifact("training", "a label", {}, make, tmp_path))


@pytest.mark.parametrize("state", ["running", "interrupted", "failed"])
@pytest.mark.parametrize("resumable", [True, False])
def test_an_unfinished_one_of_an_earlier_version_is_taken_up(tmp_path, state, resumable):
    """It lies where finished ones do, with its claims in it."""
    artifact = planned(tmp_path, {}, lambda folder: (folder / "half").touch(), resumable=resumable)
    (artifact.path / "claims").mkdir(parents=True)
    (artifact.path / "claims" / "000001").write_text("{}")
    (artifact.path / "half").write_text("x")
    (artifact.path / "status.json").write_text(json.dumps(STATUS | {"state": state}))
    assert artifact.state() == ("interrupted" if state == "running" else state)
    made = build(artifact)
    assert (made.path / "half").read_text() == ("x" if resumable else "") and made.state() == "complete"
    assert not (made.path / "claims").exists()
    assert [job["state"] for job in made.status().get("history", [])] == ([state] if resumable else [])


def test_what_is_no_artifact_is_not_overwritten(tmp_path):
    artifact = planned(tmp_path, {})
    artifact.path.mkdir(parents=True)
    (artifact.path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=rf"{artifact.path} is in the way: it is no artifact"):
        build(artifact)
    assert (artifact.path / "thesis.txt").read_text() == "years of work"
    (artifact.path / "thesis.txt").unlink()
    assert build(artifact).state() == "complete", "an empty folder is in nobody's way"
    shutil.rmtree(artifact.path)
    artifact.path.symlink_to(tmp_path / "a disk that is not there")
    with pytest.raises(InputError, match=rf"{artifact.path} is in the way"):
        build(artifact)


def test_a_place_that_cannot_be_written_is_told_before_anything_is_made(unprivileged):
    artifact = planned(unprivileged, {}, function=lambda folder: pytest.fail("made for nothing"))
    artifact.path.parent.mkdir()
    artifact.path.parent.chmod(0o500)
    with pytest.raises(InputError, match=rf"cannot write to .* \(Permission denied: {artifact.path.parent}\)"):
        build(artifact)


def left_by_an_earlier_version(outputs, **holder):
    """An unfinished artifact as it was kept before attempts had folders: in its own, with its claims."""

    def make(folder):
        (folder / "step").write_text((folder / "step").read_text() + "2")

    artifact = Artifact("training", "a label", {}, make, outputs, resumable=True)
    (artifact.path / "claims").mkdir(parents=True)
    (artifact.path / "step").write_text("1")
    write_status(artifact.path, {"state": "running", "started": "2026-01-01T00:00:00+00:00", "values": {}})
    claim = artifact.path / "claims" / "000001"
    claim.write_text(json.dumps(asdict(replace(this_process(), **holder))))
    return artifact


def test_what_an_earlier_version_had_only_claimed_is_made(tmp_path):
    artifact = left_by_an_earlier_version(tmp_path, pid=2**22 - 1)
    (artifact.path / "status.json").unlink()
    with pytest.raises(InputError, match="is in the way: it is no artifact"):  # a file in it is nobody's
        build(artifact)
    (artifact.path / "step").unlink()
    assert build(replace(artifact, make=write_number)).state() == "complete"


@pytest.mark.parametrize("holder", [{}, {"machine": "another", "host": "n7"}], ids=["here", "on another machine"])
def test_what_an_earlier_version_is_making_is_left_alone(tmp_path, holder):
    artifact = left_by_an_earlier_version(tmp_path, **holder)
    assert artifact.state() == "running"
    with pytest.raises(InputError, match=r"is being made by process \d+ on .*, with an earlier version of rwtl; wait"):
        build(artifact)
    assert (artifact.path / "step").read_text() == "1"


def test_a_stage_on_another_disk_is_named_before_anything_is_made(tmp_path):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if os.stat(other).st_dev == tmp_path.stat().st_dev:
            pytest.skip("one disk")
        (tmp_path / "training").symlink_to(other)
        with pytest.raises(InputError, match=r"training is on another disk than .*unfinished/training, where"):
            build(Artifact("training", "a label", {}, lambda folder: pytest.fail("is made"), tmp_path))
        (tmp_path / "unfinished").mkdir(exist_ok=True)
        work = tmp_path / "unfinished" / "training"
        shutil.rmtree(work, ignore_errors=True)
        os.mkdir(f"{other}/unfinished")
        work.symlink_to(f"{other}/unfinished")
        assert make(tmp_path, {}).state() == "complete"


def test_a_fifo_in_the_place_of_the_configuration_is_replaced(tmp_path):
    def leave(folder):
        (folder / "config.yaml").unlink()
        os.mkfifo(folder / "config.yaml")
        raise InputError("stopped")

    cfg = OmegaConf.create({"a": 1})
    with pytest.raises(InputError, match="stopped"):
        make(tmp_path, {}, function=leave, resumable=True, config=cfg)
    made = make(tmp_path, {}, resumable=True, config=cfg)
    assert (made.path / "config.yaml").read_text() == "a: 1\n"


def test_of_a_copy_onto_a_full_disk_the_target_is_named(tmp_path):
    def copy(folder):
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "source"), None, str(folder / "target"))

    with pytest.raises(InputError, match=r"cannot use .*/target \(No space left on device\)"):
        make(tmp_path, {}, function=copy)
