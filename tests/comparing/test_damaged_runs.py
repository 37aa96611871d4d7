"""A run of which a file is damaged is left out of a comparison, with the reason; the others are read as they are."""

import json
import shutil
from dataclasses import asdict
from types import SimpleNamespace

import pytest
import yaml
from damage import GARBAGE, ODD, damage
from known_runs import CONFIG, run_of
from omegaconf import OmegaConf

from rwtl.comparing.comparison import comparison, of_found
from rwtl.comparing.pictures import motion, scenes
from rwtl.comparing.report import again
from rwtl.comparing.runs import find_runs
from rwtl.composition import compose
from rwtl.errors import InputError
from rwtl.pipeline.artifact import Artifact, build
from rwtl.pipeline.claim import this_process
from rwtl.sweeps.jobs import Job, write_sweep

CURVE = "step,epe,1px\n0,9.5,1.0\n10,5.25,2.0\n"
ERRORS = "dataset,pair,epe\nscenes,000001,5.0\n"


def finished(outputs):
    """Two trainings, each with an evaluation and a pre-training that the training is made from."""
    made = []
    for seed in (1, 2):
        values = {"seed": seed, "model": {}, "pretraining": {}}
        cfg = OmegaConf.create(CONFIG | {"seed": seed})

        def write(name, text):
            return lambda folder: (folder / name).write_text(text)

        source = Artifact("pretraining", "p", values, write("curve.csv", CURVE), outputs)
        parents = {"pretraining": source}
        training = Artifact("training", "t", values, write("curve.csv", CURVE), outputs, parents, config=cfg)
        evaluation = Artifact("evaluation", "e", values, write("errors.csv", ERRORS), outputs, {"training": training})
        build(evaluation)
        made.append({"pretraining": source.path, "training": training.path, "evaluation": evaluation.path})
    return made


HOWS = [*GARBAGE, *ODD]
FILES = [("training", "status.json"), ("training", "config.yaml"), ("training", "curve.csv")]
FILES += [("evaluation", "status.json"), ("evaluation", "errors.csv"), ("pretraining", "status.json")]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(("kind", "name"), FILES, ids=[f"{kind} {name}" for kind, name in FILES])
@pytest.mark.parametrize("recorded", [True, False], ids=["", "of an earlier version"])
def test_the_others_are_read(tmp_path, kind, name, how, recorded):
    first, second = finished(tmp_path)
    if not recorded:
        for folder in first.values():
            status = json.loads((folder / "status.json").read_text())
            del status["files"]
            (folder / "status.json").write_text(json.dumps(status))
    damage(first[kind] / name, how)
    runs = find_runs(f"{tmp_path}/training/*")
    left_out, errors = {run.folder for run in runs} == {second["training"]}, [len(run.errors) for run in runs]
    assert left_out == (kind != "evaluation") and errors == (
        [1] if left_out else [0, 1] if runs[0].seed == 1 else [1, 0]
    )
    (note,) = runs.notes
    assert f"{first['training' if left_out else kind]} is left out: {first[kind] / name} is damaged (" in note or (
        "is damaged (its content is not what was written" in note
    )
    assert "\n" not in note


def sweep_of(outputs, *artifacts):
    """The folder of a sweep whose jobs made these artifacts."""
    jobs = [
        {"number": number, "overrides": [], "problem": "", "kind": path.parent.name, "digest": path.name}
        for number, path in enumerate(artifacts)
    ]
    folder = outputs / "sweeps" / "first"
    folder.mkdir(parents=True)
    content = {"app": "train", "process": asdict(this_process()), "ended": True, "jobs": jobs}
    (folder / "sweep.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("kind", ["training", "evaluation"])
@pytest.mark.parametrize("how", ["damaged", "without status", "removed"])
def test_of_a_sweep_the_others_are_read(tmp_path, kind, how):
    first, second = finished(tmp_path)
    sweep = sweep_of(tmp_path, first[kind], second[kind])
    match how:
        case "damaged":
            damage(first[kind] / "status.json", "cut off")
        case "without status":
            (first[kind] / "status.json").unlink()
        case "removed":
            shutil.rmtree(first[kind])
    runs = find_runs(sweep)
    assert [run.folder for run in runs] == [second["training"]]
    reason = {"damaged": "is damaged (", "without status": "it has no status.json", "removed": "it is not there"}[how]
    assert runs.notes[0].startswith(f"{first[kind]} is left out: ") and reason in runs.notes[0]


def test_of_damaged_runs_alone_the_reason_is_told(tmp_path):
    first, _ = finished(tmp_path)
    damage(first["training"] / "curve.csv", "not UTF-8")
    with pytest.raises(InputError, match=r"no training is found in .*curve\.csv is damaged"):
        find_runs(first["training"])


def test_one_that_names_itself_among_its_parents(tmp_path):
    first, second = finished(tmp_path)
    file = first["pretraining"] / "status.json"
    status = json.loads(file.read_text())
    status |= {"format": 1, "parents": {"pretraining": file.parent.name}}  # of a version whose digests are not known
    file.write_text(json.dumps(status))
    runs = find_runs(f"{tmp_path}/training/*")
    assert [run.folder for run in runs] == [second["training"]]
    assert "names itself among what it is made from" in runs.notes[0]


@pytest.mark.parametrize("config", [{}, [1], "text", {"seed": 1}, {"seed": 1, "transfer": "scratch"}])
def test_a_configuration_of_another_form(tmp_path, config):
    first, second = finished(tmp_path)
    status = json.loads((first["training"] / "status.json").read_text())
    (first["training"] / "status.json").write_text(json.dumps({**status, "files": {}}))
    (first["training"] / "config.yaml").write_text(yaml.safe_dump(config))
    runs = find_runs(f"{tmp_path}/training/*")
    assert [run.folder for run in runs] == [second["training"]]
    assert "config.yaml is damaged (it is no configuration of a run)" in runs.notes[0]


@pytest.mark.parametrize("how", ["damaged", "missing"])
@pytest.mark.parametrize("kind", ["training", "evaluation"])
def test_one_job_of_a_sweep_leaves_the_others(tmp_path, kind, how):
    made = finished(tmp_path)
    jobs = [Job(number, [f"seed={number}"], Artifact.at(each[kind])) for number, each in enumerate(made)]
    write_sweep(tmp_path / "sweeps" / "seeds", "train", jobs, ended=True)
    if how == "damaged":
        damage(made[0][kind] / "status.json", "cut off")
    else:
        shutil.rmtree(made[0][kind])
    runs = find_runs(tmp_path / "sweeps" / "seeds")
    assert [run.folder for run in runs] == [made[1]["training"]]
    reason = "status.json is damaged" if how == "damaged" else "it is not there"
    assert f"{made[0][kind]} is left out: " in runs.notes[0] and reason in runs.notes[0]


@pytest.mark.parametrize("how", [how for how in HOWS if how not in ("no keys", "another's", "of wrong types")])
def test_pictures_are_left_out_for_a_damaged_configuration(tmp_path, how):
    """The page says so by the error; that of a training is read before, with the run itself."""
    first, _ = finished(tmp_path)
    (run,) = find_runs(first["training"])
    (first["evaluation"] / "status.json").write_text('{"state": "complete"}')  # of before files had digests
    damage(first["evaluation"] / "config.yaml", how)
    with pytest.raises(InputError, match=r"config\.yaml is damaged \("):
        scenes(SimpleNamespace(firsts={"scratch": run}))
    with pytest.raises(InputError, match=r"config\.yaml is damaged \("):
        motion(SimpleNamespace(runs={}), {first["evaluation"]: ["scratch"]})
    assert again(first["evaluation"])[1].startswith("It was not checked: ")


@pytest.mark.parametrize(
    ("key", "value"),
    [("rows", 1.5), ("rows", ["transfer", float("nan")]), ("columns", ["seed"]), ("baseline", ["a"]), ("runs", 3)],
)
def test_what_is_no_text_is_named(tmp_path, key, value):
    finished(tmp_path)
    given = {"runs": f"{tmp_path}/training/*"} | {key: value}
    with pytest.raises(InputError, match=rf"{key} is .*; it must be a"):
        comparison(compose("compare", outputs=tmp_path, **given))


def test_a_baseline_that_is_a_number_is_told_the_rows():
    runs = [run_of(1, None, [9, 7, 5], training__steps=steps) for steps in (20, 40)]
    with pytest.raises(InputError, match=r"baseline is 20; choose one of training\.steps 20, training\.steps 40"):
        of_found(compose("compare", rows="training.steps", baseline=20), runs)
    cfg = compose("compare", rows="training.steps", baseline="training.steps 20")
    assert of_found(cfg, runs).values["baseline"] == "training.steps 20"
