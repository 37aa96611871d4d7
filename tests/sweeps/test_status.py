"""What is there, what a line would make, and removing what nobody will reuse."""

import json
import os
import re
import shutil
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest
from test_multirun import SCENES, SHAPES, SOURCE, TRAINING
from tiny import run

from rwtl.errors import InputError
from rwtl.pipeline import artifact as artifacts
from rwtl.pipeline import claim as claims
from rwtl.pipeline.artifact import Artifact, build
from rwtl.pipeline.claim import claim, this_process
from rwtl.pipeline.status import claims_of, folder_of, read_status, unfinished, write_status
from rwtl.sweeps import status
from rwtl.sweeps.status import REMOVABLE, age, entries_of, print_entries, print_sweeps, remove, states_of

TARGET = [*SOURCE, *SCENES, "clips.dt=0.2", "pretraining.steps=0", *(f"training.{value}" for value in TRAINING)]


def planned(outputs, number, parents=None, error=None):
    def function(folder):
        if error:
            raise error
        (folder / "data").write_bytes(b"0" * 2000)

    return Artifact("training", f"run {number}", {"number": number}, function, outputs, parents or {})


def make(outputs, number, parents=None, error=None):
    return build(planned(outputs, number, parents, error))


@pytest.fixture
def outputs(tmp_path):
    """One artifact in each state, by name."""
    made = {"complete": make(tmp_path, 1).path}
    made["child"] = make(tmp_path, 2, {"source": make(tmp_path, 1)}).path
    ends = {"failed": InputError("too few"), "interrupted": KeyboardInterrupt(), "running": KeyboardInterrupt()}
    for number, (state, error) in enumerate(ends.items(), 3):
        with pytest.raises(type(error)):
            make(tmp_path, number, error=error)
        made[state] = planned(tmp_path, number).path
    made["outdated"], made["damaged"] = (make(tmp_path, number).path for number in (6, 7))
    write_status(made["outdated"], read_status(made["outdated"]) | {"format": 1})
    (made["damaged"] / "status.json").write_text('{"state": ')
    write_status(folder_of(made["running"]), read_status(made["running"]) | {"state": "running"})
    return made


def test_every_artifact_has_its_line(outputs, tmp_path, capsys):
    held = claim(claims_of(outputs["running"]), lambda: False, print)
    entries = {entry.path: entry for entry in entries_of(tmp_path)}
    held.release()
    found = {name: entries[path] for name, path in outputs.items()}
    assert {name: entry.state for name, entry in found.items()} == {name: name for name in found} | {
        "child": "complete"
    }
    assert found["failed"].note == "too few" and found["interrupted"].note == "KeyboardInterrupt: "
    assert found["outdated"].note == "format 1, now 2: never reused" and "is damaged" in found["damaged"].note
    assert re.fullmatch(rf"process {os.getpid()} on .*, last sign of life [01] s ago", found["running"].note)
    assert found["child"].parents == {"source": outputs["complete"].name} and found["complete"].label == "run 1"
    files = [file.stat().st_size for file in outputs["complete"].rglob("*") if file.is_file()]
    assert found["complete"].size == sum(files) > 2000 and 0 <= found["complete"].age < 60
    print_entries(list(entries.values()))
    printed = capsys.readouterr().out
    assert all(path.name in printed for path in outputs.values())
    assert "7 artifacts" in printed and "2 complete" in printed and "1 damaged" in printed


def test_ages_are_those_of_the_end(outputs, tmp_path):
    before = (datetime.now(UTC) - timedelta(hours=5)).isoformat()
    write_status(outputs["complete"], read_status(outputs["complete"]) | {"finished": before})
    oldest = entries_of(tmp_path, "training", "complete")[0]
    assert oldest.path == outputs["complete"] and age(oldest.age) == "5 h"
    assert [age(seconds) for seconds in (None, -3.0, 59.0, 60.0, 3599.0, 90000.0)] == [
        "",
        "0 s",
        "59 s",
        "1 min",
        "59 min",
        "1 d",
    ]


def test_only_what_is_asked_for_is_removed_and_nothing_that_lives(outputs, tmp_path, capsys):
    held = claim(claims_of(outputs["failed"]), lambda: False, print)
    remove(entries_of(tmp_path), ["failed", "damaged", "outdated"])
    held.release()
    printed = capsys.readouterr().out
    assert f"{outputs['failed']} is kept: process {os.getpid()}" in printed and "2 removed" in printed
    left = {name for name, path in outputs.items() if folder_of(path).exists()}
    assert left == {"complete", "child", "failed", "interrupted", "running"}
    remove(entries_of(tmp_path), ["failed"])
    assert not folder_of(outputs["failed"]).exists() and "1 removed" in capsys.readouterr().out
    assert make(tmp_path, 3).path == outputs["failed"], "it can be made again"


def test_what_was_made_since_it_was_listed_is_kept(outputs, tmp_path):
    entries = entries_of(tmp_path)
    make(tmp_path, 3)
    remove(entries, ["failed"])
    assert (outputs["failed"] / "data").exists() and make(tmp_path, 3).reused


def test_what_is_not_ours_is_neither_listed_nor_removed(outputs, tmp_path):
    before, elsewhere = len(entries_of(tmp_path)), tmp_path / "elsewhere"
    elsewhere.mkdir()
    for folder in (tmp_path / "training" / "my_notes", tmp_path / "training" / "0123456789ab", elsewhere):
        folder.mkdir(exist_ok=True)
        (folder / "thesis.txt").write_text("years of work")
    (tmp_path / "training" / "fedcba987654").symlink_to(elsewhere)
    (tmp_path / "training" / "thesis.txt").write_text("years of work")
    (tmp_path / "training" / "0000000000aa").symlink_to(tmp_path / "nowhere")
    entries = entries_of(tmp_path)
    assert len(entries) == before
    remove(entries, REMOVABLE)
    notes = ("my_notes/thesis.txt", "0123456789ab/thesis.txt", "fedcba987654/thesis.txt", "thesis.txt")
    assert [(tmp_path / "training" / note).read_text() for note in notes] == ["years of work"] * 4
    assert {entry.state for entry in entries_of(tmp_path)} == {"complete"}


def test_of_an_artifact_that_is_linked_only_the_link_is_removed(outputs, tmp_path):
    """Also of links within an artifact, and within what is not finished."""
    moved, kept = tmp_path / "other_disk", tmp_path / "kept"
    kept.mkdir()
    (kept / "thesis.txt").write_text("years of work")
    outputs["outdated"].rename(moved)
    outputs["outdated"].symlink_to(moved)
    (outputs["damaged"] / "link").symlink_to(kept)
    (folder_of(outputs["failed"]) / "link").symlink_to(kept)
    remove(entries_of(tmp_path), ["outdated", "damaged", "failed"])
    assert not any(os.path.lexists(outputs[name]) for name in ("outdated", "damaged", "failed"))
    assert (moved / "data").exists() and (kept / "thesis.txt").exists()


def test_a_removal_that_is_killed_leaves_no_half_of_an_artifact(outputs, tmp_path, monkeypatch):
    real = shutil.rmtree

    def killed(folder, **named):
        if folder.name.startswith("removed"):
            raise KeyboardInterrupt
        real(folder, **named)

    monkeypatch.setattr("shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        remove(entries_of(tmp_path), ["outdated"])
    monkeypatch.undo()
    assert not outputs["outdated"].exists()
    remove(entries_of(tmp_path), ["outdated", "interrupted"])
    assert not make(tmp_path, 6).reused


@pytest.mark.parametrize("bad", ["complete", "running", ["failed", "all"]])
def test_finished_and_unknown_states_are_not_removed(bad):
    with pytest.raises(InputError, match=r"remove is '(complete|running|all)'; choose of interrupted, failed"):
        states_of(bad)


@pytest.mark.parametrize("bad", [{"stage": "trainings"}, {"state": "dead"}])
def test_filters_that_are_unknown_are_refused(bad, tmp_path):
    with pytest.raises(InputError, match=r"is '(trainings|dead)'; choose one of"):
        entries_of(tmp_path, **bad)


def test_a_claim_without_a_status_is_of_a_job_that_died(tmp_path):
    folder = claims_of(tmp_path / "training" / "0123456789ab")
    folder.mkdir(parents=True)
    (folder / "000001").write_text(json.dumps(asdict(this_process()) | {"pid": 2**22 + 1}))
    (entry,) = entries_of(tmp_path)
    assert entry.state == "interrupted" and entry.note == "its job ended without a word"


def plan(outputs, *line):
    return run("status", outputs, *line)


@pytest.mark.slow
def test_a_line_is_planned_before_and_in_between_and_afterwards(tmp_path):
    outputs = tmp_path / "outputs"
    line = ["-m", *TARGET, "transfer=scratch,freeze_none", "seed=1,2"]
    before = plan(outputs, "train", *line)
    assert before.returncode == 0 and not outputs.exists(), before.stderr
    assert "recording: 1 to make\npretraining: 1 to make\ntraining: 4 to make\n" in before.stdout
    assert re.search(r"│ pretraining .* make .* 2 of 4 ", before.stdout)

    assert run("train", outputs, *TARGET, "transfer=freeze_none").returncode == 0
    between = plan(outputs, "train", *line)
    assert "recording: 1 to reuse\npretraining: 1 to reuse\ntraining: 3 to make, 1 to reuse\n" in between.stdout
    (trained,) = (outputs / "training").iterdir()
    status = json.loads((trained / "status.json").read_text())
    (trained / "status.json").write_text(json.dumps(status | {"state": "failed", "reason": "InputError: too hot"}))
    again = plan(outputs, "train", *line)
    assert re.search(rf"│ {trained.name} │ .* try again │ .* too hot ", again.stdout), again.stdout

    whole = plan(outputs, "stage=training")
    assert whole.returncode == 0 and trained.name in whole.stdout and "1 artifacts" in whole.stdout
    removed = plan(outputs, "remove=failed")
    assert removed.returncode == 0 and f"removed {trained} (failed, " in removed.stdout and not trained.exists()


BAD = {
    "an unknown key": (["train", "trainign.steps=1"], "trainign"),
    "a bad value": (["train", "-m", "seed=1,-1"], r"job 1 \(seed=-1 .*\): seed is -1"),
    "a search": (["pretrain", "-m", "hparams_search=nfp"], "a search proposes its points as it goes"),
    "equal jobs": (["simulate", "-m", "recording.seed=1,1"], "jobs 0 and 1 of the sweep are the same"),
    "a state": (["state=dead"], "state is 'dead'"),
    "what is finished": (["remove=complete"], "remove is 'complete'"),
}


@pytest.mark.parametrize("case", BAD)
def test_lines_that_make_no_sense_end_with_one_message(case, tmp_path):
    line, named = BAD[case]
    done = plan(tmp_path / "outputs", *line)
    assert done.returncode == 1 and re.search(named, done.stderr), done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "outputs").exists()


def test_sweeps_are_listed(tmp_path, capsys):
    assert run("simulate", tmp_path, "-m", *SHAPES, "recording.seed=1,-1", "sweep=mine").returncode == 1
    print_sweeps(tmp_path)
    assert capsys.readouterr().out == "sweep mine: 1 complete, 1 failed\n"


@pytest.mark.parametrize("place", ["as it lists", "as it renames"])
def test_a_removal_that_wakes_after_its_successor_leaves_that_alone(outputs, tmp_path, monkeypatch, capsys, place):
    """It was stopped for longer than the lease, and another job has gone on with what was to be removed."""
    path, later = outputs["interrupted"], []
    work, rename = unfinished(path), os.rename

    def taken_over():
        number = int(max(claims_of(path).glob("*")).name) + 1
        later.append(claims.Claim(claims._create(claims._file(claims_of(path), number))))
        later.append(artifacts._take_over(path, later[0]))
        write_status(later[1], {"state": "running"})

    def as_it_renames(*paths):
        monkeypatch.undo()
        taken_over()
        return rename(*paths)

    entries = [entry for entry in entries_of(tmp_path) if entry.path == path]
    if place == "as it lists":
        monkeypatch.setattr(status, "unfinished", lambda path: (monkeypatch.undo(), taken_over(), work)[-1])
    else:
        monkeypatch.setattr(os, "rename", as_it_renames)
    remove(entries, ["interrupted"])
    assert read_status(path) == {"state": "running"} and folder_of(path) == later[1]
    assert f"{path} is kept: another job works on it" in capsys.readouterr().out
    later[0].require()
    later[0].release()


def test_what_is_made_as_it_is_removed_is_kept(outputs, tmp_path, monkeypatch):
    path, rename = outputs["failed"], os.rename
    entries = [entry for entry in entries_of(tmp_path) if entry.path == path]

    def made_meanwhile(source, target):
        if source == path:  # the last moment at which a job could still finish it
            write_status(path, {"state": "complete"})
        rename(source, target)

    path.mkdir()
    monkeypatch.setattr(os, "rename", made_meanwhile)
    remove(entries, ["failed"])
    assert read_status(path) == {"state": "complete"}
