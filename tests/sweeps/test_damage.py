"""One damaged file is shown as damaged, with its reason, and stops no view of the others."""

import json
import shutil
from types import SimpleNamespace

import pytest
from damage import GARBAGE, ODD, damage

from rwtl.errors import InputError
from rwtl.pipeline.artifact import Artifact, build
from rwtl.pipeline.status import claims_of, folder_of
from rwtl.sweeps.executors import Inline
from rwtl.sweeps.jobs import Job
from rwtl.sweeps.scheduler import Outcomes, build_all, found
from rwtl.sweeps.search import _objective
from rwtl.sweeps.slurm import Slurm
from rwtl.sweeps.status import entries_of, print_entries, print_sweeps, remove


def data(folder):
    (folder / "data").write_bytes(b"0" * 2000)


def make(outputs, number, fail=False):
    def function(folder):
        data(folder)
        if fail:
            raise InputError("too few")

    artifact = Artifact("training", f"run {number}", {"number": number}, function, outputs)
    if fail:
        with pytest.raises(InputError):
            build(artifact)
        return artifact
    return build(artifact)


@pytest.mark.parametrize("how", [*GARBAGE, *ODD])
@pytest.mark.parametrize("finished", [True, False])
def test_a_damaged_status(tmp_path, capsys, how, finished):
    made, whole = make(tmp_path, 1, fail=not finished), make(tmp_path, 2)
    file = made.path / "status.json" if finished else next(tmp_path.glob("unfinished/*/*/*-*/status.json"))
    damage(file, how)
    entries = {entry.path.name: entry for entry in entries_of(tmp_path)}
    assert {digest: entry.state for digest, entry in entries.items()} == {
        made.digest: "damaged",
        whole.digest: "complete",
    }
    assert "status.json is damaged (" in entries[made.digest].note
    print_entries(list(entries.values()))
    assert "1 damaged" in capsys.readouterr().out
    if finished:  # otherwise it is made anew
        with pytest.raises(InputError, match=r"status\.json is damaged \("):
            make(tmp_path, 1)
    remove(entries.values(), ["damaged"])
    assert [entry.path.name for entry in entries_of(tmp_path)] == [whole.digest]
    assert make(tmp_path, 1).state() == "complete"


def test_a_status_in_the_place_of_another(tmp_path):
    one, two = make(tmp_path, 1), make(tmp_path, 2)
    other = build(Artifact("evaluation", "e", {"number": 1}, data, tmp_path))
    for wrong in (two, other):
        shutil.copy(wrong.path / "status.json", one.path)
        (entry,) = [entry for entry in entries_of(tmp_path) if entry.path == one.path]
        assert entry.state == "damaged"
        assert f"is of another artifact, {wrong.kind}/{wrong.digest}); remove {one.path}" in entry.note
        with pytest.raises(InputError, match="is of another artifact"):
            make(tmp_path, 1)


@pytest.mark.parametrize("how", [*GARBAGE, *ODD])
def test_a_damaged_claim(tmp_path, how):
    made, whole = make(tmp_path, 1, fail=True), make(tmp_path, 2)
    damage(claims_of(made.path) / "000001", how)
    states = {entry.path.name: entry.state for entry in entries_of(tmp_path)}
    assert states == {made.digest: "failed", whole.digest: "complete"}


@pytest.mark.parametrize("how", [*GARBAGE, *ODD])
def test_a_damaged_file_of_a_sweep(tmp_path, capsys, how):
    damage(tmp_path / "sweeps" / "first" / "sweep.json", how)
    content = {"app": "train", "process": PROCESS, "ended": True, "jobs": [JOB]}
    (tmp_path / "sweeps" / "second").mkdir()
    (tmp_path / "sweeps" / "second" / "sweep.json").write_text(json.dumps(content))
    print_sweeps(tmp_path)
    said = capsys.readouterr().out
    assert "sweep first: " in said and "is damaged" in said and "sweep second: 1 missing" in said


PROCESS = {"host": "h", "machine": "m", "pid": 1, "born": 2, "job": "", "restarts": 0}
JOB = {"number": 0, "overrides": ["seed=1"], "problem": "", "kind": "training", "digest": "0123456789ab"}
WRONG = {
    "process": [None, 3, {}, {**PROCESS, "pid": "a"}, {**PROCESS, "host": None}],
    "ended": [None, "yes", 3],
    "jobs": [
        None,
        {},
        [3],
        [{**JOB, "digest": "../../etc"}],
        [{**JOB, "kind": "nothing"}],
        [{**JOB, "overrides": "a"}],
    ],
}
CASES = [(key, value) for key, values in WRONG.items() for value in values]


@pytest.mark.parametrize(("key", "value"), CASES, ids=[f"{key}={value!r:.40}" for key, value in CASES])
def test_a_sweep_whose_file_has_a_value_of_another_type(tmp_path, capsys, key, value):
    folder = tmp_path / "sweeps" / "first"
    folder.mkdir(parents=True)
    content = {"app": "train", "process": PROCESS, "ended": True, "jobs": [JOB]} | {key: value}
    (folder / "sweep.json").write_text(json.dumps(content))
    print_sweeps(tmp_path)
    assert f"sweep first: {folder}/sweep.json is damaged (" in capsys.readouterr().out


def test_a_folder_of_unfinished_work_that_cannot_be_read(tmp_path, capsys):
    whole, work = make(tmp_path, 1), tmp_path / "unfinished" / "training" / "0123456789ab"
    damage(work, "a link to itself")  # as one of another user's, which only a user without rights sees
    entries = {entry.path.name: entry for entry in entries_of(tmp_path)}
    assert {digest: entry.state for digest, entry in entries.items()} == {
        whole.digest: "complete",
        work.name: "damaged",
    }
    assert f"{work} cannot be read (" in entries[work.name].note
    remove(entries.values(), ["damaged"])
    assert f"{tmp_path / 'training' / work.name} is kept: " in capsys.readouterr().out


@pytest.mark.parametrize("finished", [True, False])
def test_a_damaged_status_stops_no_other_job(tmp_path, finished):
    artifacts = [Artifact("training", f"run {number}", {"number": number}, data, tmp_path) for number in (1, 2)]
    made = make(tmp_path, 1, fail=not finished)
    damage(folder_of(made.path) / "status.json", "cut off")
    outcomes = build_all(artifacts, Inline())
    assert outcomes[artifacts[1].path].state == "done"
    if finished:
        assert outcomes[made.path].state == "failed" and "status.json is damaged (" in outcomes[made.path].reason
        assert found(made).state == "failed" and _objective(Job(0, [], made), Outcomes()) is None
    else:
        assert outcomes[made.path].state == "done"


def test_a_damaged_status_ends_its_job_on_a_cluster_alone(tmp_path):
    made = make(tmp_path, 1)
    watching = Slurm(SimpleNamespace(name=None, submitit_folder=str(tmp_path / "logs")), "executor", "train")
    watching._artifacts = {made.path: made}
    assert watching._end(made.path, "7", None).state == ""
    damage(made.path / "status.json", "cut off")
    ended = watching._end(made.path, "7", None)
    assert ended.state == "failed" and "status.json is damaged (" in ended.detail
