"""Multiruns as a user runs them, whole processes at a tiny scale; and what is easier to see from within."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from tiny import besides_progress, run, start

from rwtl.comparing.runs import find_runs
from rwtl.errors import InputError
from rwtl.pipeline.artifact import Artifact
from rwtl.pipeline.claim import this_process
from rwtl.pipeline.status import folder_of
from rwtl.sweeps.jobs import Job, read_jobs, write_sweep
from rwtl.sweeps.status import print_sweeps

SHAPES = ["recording=moving_shapes", "recording.rows=24", "recording.columns=24", "recording.duration=8"]
CLIPS = ["clips.active=[0,1]", "clips.gap=0.5", "clips.crop=16", "trainer.threads=1"]
PRETRAINING = ["validate_every=4", "batch_size=2", "validation_clips=4", "iterations=1"]
SOURCE = [*SHAPES, *CLIPS, *(f"pretraining.{value}" for value in PRETRAINING)]
TRAINING = ["steps=1", "validate_every=1", "batch_size=1", "iterations=1", "validation_iterations=1"]
SCENES = [
    *(f"datasets.procedural_training.{value}" for value in ("height=32", "width=32", "mean_displacement=2", "size=4")),
    "datasets.procedural_validation.size=2",
]
TARGET = [*SOURCE, *SCENES, "clips.dt=0.2", "pretraining.steps=0", *(f"training.{value}" for value in TRAINING)]
JOBLIB = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
PROCESSES = ["executor=processes", "executor.jobs=2"]
LONG = 400000  # steps that no test waits for


def row(table, number):
    """The cells of a job in a table on the terminal, but for what is folded into further lines."""
    (cells,) = re.findall(rf"^│ +{number} │(.*)│$", table, re.MULTILINE)
    return [cell.strip() for cell in cells.split("│")]


def states(table, count):
    return [row(table, number)[1] for number in range(count)]


def sweep_of(outputs):
    """The folder of the only sweep."""
    (folder,) = (outputs / "sweeps").glob("*/")
    return folder


def made_by(sweep):
    """The folder of what each job makes."""
    return [job.artifact and job.artifact.path for job in read_jobs(sweep)]


def file_of(sweep):
    return json.loads((sweep / "sweep.json").read_text())


def status_of(folder):
    return json.loads((folder_of(folder) / "status.json").read_text())


@pytest.mark.slow
def test_a_failed_job_neither_stops_nor_hides_the_others_and_alone_is_tried_again(tmp_path):
    line = ["-m", *SHAPES, "recording.seed=1,-1,2"]
    outputs = tmp_path / "outputs"
    first = run("simulate", outputs, *line, cwd=tmp_path)
    assert first.returncode == 1
    assert states(first.stdout, 3) == ["done", "failed", "done"]
    assert row(first.stdout, 1)[0] == "recording.seed=-1" and "recording.seed is -1" in row(first.stdout, 1)[2]
    assert "2 done, 1 failed" in first.stdout
    assert re.findall("^error: .*", first.stderr, re.MULTILINE) == [
        "error: job 1: recording.seed is -1; it must lie in 0 to 9223372036854775807"
    ]
    assert "Traceback" not in first.stderr

    one, none, two = made_by(sweep_of(outputs))
    assert none is None and {one, two} == set(outputs.glob("recording/*"))
    sweep = file_of(sweep_of(outputs))
    assert sweep["app"] == "simulate" and sweep["ended"]
    assert "recording.seed=2" in sweep["jobs"][2]["overrides"] and "recording.seed is -1" in sweep["jobs"][1]["problem"]
    assert row(first.stdout, 2)[-1] in str(two)
    assert {file.name for file in sweep_of(outputs).iterdir()} == {"sweep.json", "multirun.yaml"}

    again = run("simulate", outputs, *line, cwd=tmp_path)
    assert again.returncode == 1 and "making" not in again.stderr
    assert states(again.stdout, 3) == ["reused", "failed", "reused"]
    assert len(list((outputs / "sweeps").glob("*/"))) == 1, "the same line is the same sweep"
    assert [file.name for file in tmp_path.iterdir()] == ["outputs"], "nothing beside the artifacts"
    alone = run("simulate", outputs, *SHAPES, "recording.seed=2")
    assert alone.returncode == 0 and f"reused {two}" in alone.stderr, "the sweep's name determines no artifact"


@pytest.mark.slow
def test_what_fails_while_it_is_made_alone_is_tried_again(tmp_path):
    """dt 99 s is longer than the recording, which only its pre-training sees."""
    outputs, line = tmp_path / "outputs", ["-m", *SOURCE, "pretraining.steps=0", "clips.dt=99,0.2"]
    first = run("pretrain", outputs, *line)
    assert first.returncode == 1 and states(first.stdout, 2) == ["failed", "done"]
    assert first.stderr.count("a clip of 3 frames at dt 99.0 s") == 1 and "Traceback" not in first.stderr
    again = run("pretrain", outputs, *line)
    assert again.returncode == 1 and states(again.stdout, 2) == ["failed", "reused"]
    assert len(re.findall("^pretraining: making ", again.stderr, re.MULTILINE)) == 1
    assert "recording of moving shapes: making" not in again.stderr


BAD_LINES = {
    "a value twice": (["recording.seed=1,2,1"], r"jobs 0 and 2 .*recording\.seed=1;"),
    "an unknown key": (["recording.seedz=1,2"], r"seedz"),
    "an unknown choice in a later batch": (
        ["recording=moving_shapes,nothing", "hydra.sweeper.max_batch_size=1"],
        r"nothing",
    ),
    "no batch": (["recording.seed=1,2", "hydra.sweeper.max_batch_size=0"], r"max_batch_size is 0"),
    "a range without steps": (["recording.noise=interval(1,2)"], r"INTERVAL.*hparams_search"),
    "a name that is no folder's": (["recording.seed=1,2", "sweep=a/b"], r"sweep is 'a/b'"),
    "two names": (["recording.seed=1,2", "sweep=a,b"], r"sweep=a,b: a sweep has one name"),
    "no value": (["recording.seed=range(1,1)"], r"no jobs"),
    "an unknown executor": (
        ["recording.seed=1,2", "executor=cloud"],
        r"^error: .*Could not find 'executor/cloud'; .*: inline, processes, slurm\n$",
    ),
    "two executors": (["recording.seed=1,2", "executor=inline,processes"], r"executor=inline,processes: .* one exec"),
    "two numbers of processes": (
        ["recording.seed=1,2", "executor=processes", "executor.jobs=1,2"],
        r"executor\.jobs=1,2: a sweep has one executor",
    ),
    "no process": (
        ["recording.seed=1,2", "executor=processes", "executor.jobs=0"],
        r"executor\.jobs is 0; it must lie in 1 to 256",
    ),
    "a launcher beside an executor": (
        ["recording.seed=1,2", "hydra/launcher=joblib", "executor=inline"],
        r"hydra/launcher=joblib and executor=inline both say where the jobs run; leave one out",
    ),
    "no process of joblib's": (
        ["recording.seed=1,2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=0"],
        r"hydra\.launcher\.n_jobs is 0; it must be a whole number, and not 0",
    ),
    "a word for joblib": (
        ["recording.seed=1,2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=all"],
        r"hydra\.launcher\.n_jobs is 'all'; it must be a whole number",
    ),
    "a truth for joblib": (
        ["recording.seed=1,2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=true"],
        r"hydra\.launcher\.n_jobs is True; it must be a whole number",
    ),
    "a key that joblib has not": (
        ["recording.seed=1,2", "hydra/launcher=joblib", "hydra.launcher.nothing=2"],
        r"hydra\.launcher\.nothing",
    ),
    "a cluster's key": (
        ["recording.seed=1,2", "hydra/launcher=slurm", "hydra.launcher.cpus_per_task=0"],
        r"hydra\.launcher\.cpus_per_task is 0; it must be at least 1",
    ),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_line_that_makes_no_sense_is_refused_before_anything_runs(case, tmp_path):
    overrides, named = BAD_LINES[case]
    done = run("simulate", tmp_path / "outputs", "-m", *SHAPES, *overrides)
    assert done.returncode == 1 and re.search(named, done.stderr), done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_paired_choices_are_presets_not_products(tmp_path):
    presets = tmp_path / "presets" / "experiment"
    presets.mkdir(parents=True)
    for name, dt, transfer in (("near", 0.2, "freeze_none"), ("far", 0.4, "freeze_encoder")):
        defaults = f"defaults:\n  - override /transfer: {transfer}\n"
        (presets / f"{name}.yaml").write_text(f"# @package _global_\n{defaults}clips:\n  dt: {dt}\n")
    line = ["-m", "--config-dir", str(presets.parent), *SOURCE, *SCENES, "pretraining.steps=0", "experiment=near,far"]
    done = run("train", tmp_path / "outputs", *line, *(f"training.{value}" for value in TRAINING))
    assert done.returncode == 0, done.stderr
    trained = [OmegaConf.load(file) for file in (tmp_path / "outputs" / "training").glob("*/config.yaml")]
    pairs = {(cfg.clips.dt, cfg.transfer.name) for cfg in trained}
    assert pairs == {(0.2, "freeze_none"), (0.4, "freeze_encoder")} and len(trained) == 2
    assert done.stderr.count("recording of moving shapes: making") == 1


@pytest.mark.slow
def test_a_glob_names_all_presets_to_the_app_and_to_its_preview(tmp_path):
    outputs, line = tmp_path / "outputs", ["-m", *TARGET, "transfer=glob(freeze_*)"]
    named = {file.stem for file in (Path(__file__).parents[2] / "conf" / "transfer").glob("freeze_*.yaml")}
    before = run("status", outputs, "train", *line)
    assert before.returncode == 0 and f"training: {len(named)} to make\n" in before.stdout, before.stderr
    assert not outputs.exists()
    done = run("train", outputs, *line)
    assert done.returncode == 0 and states(done.stdout, len(named)) == ["done"] * len(named), done.stderr
    assert {row(done.stdout, number)[0] for number in range(len(named))} == {f"transfer={name}" for name in named}
    after = run("status", outputs, "train", *line)
    assert f"recording: 1 to reuse\npretraining: 1 to reuse\ntraining: {len(named)} to reuse\n" in after.stdout


@pytest.mark.slow
def test_batches_are_made_one_after_the_other(tmp_path):
    line = ["-m", *SHAPES, "recording.seed=1,-1,2", "hydra.sweeper.max_batch_size=1", "sweep=mine"]
    done = run("simulate", tmp_path, *line)
    assert done.returncode == 1 and states(done.stdout, 3) == ["done", "failed", "done"], done.stderr
    assert "to make" not in done.stderr, "each batch is one recording"
    assert done.stderr.count("recording of moving shapes: making") == 2


def pretrain(outputs, *overrides):
    return start("pretrain", outputs, "-m", *SOURCE, "clips.dt=0.2", *overrides)


def wait_for_lines(job, said, count):
    """Read on until so many lines say it; return all that was read."""
    read, watchdog = "", threading.Timer(300, os.killpg, (job.pid, signal.SIGKILL))
    watchdog.start()
    try:
        while read.count(said) < count:
            line = job.stderr.readline()
            assert line, read
            read += line
    finally:
        watchdog.cancel()
    return read


@pytest.mark.slow
def test_jobs_run_side_by_side_and_all_but_the_dead_one_finish(tmp_path):
    """Of two processes, one trains for ever and is killed; the other goes on, and what is left runs yet."""
    outputs = tmp_path / "outputs"
    job = pretrain(outputs, *JOBLIB, f"pretraining.steps={LONG},100,0,4")
    wait_for_lines(job, "training clips", 2)
    made = made_by(sweep_of(outputs))
    began = [status_of(folder) for folder in made[:2]]
    assert [status["state"] for status in began] == ["running", "running"]
    assert len({status["pid"] for status in began} | {job.pid}) == 3
    os.kill(began[0]["pid"], signal.SIGKILL)
    output, errors = job.communicate(timeout=300)
    assert job.returncode == 1
    assert states(output, 4) == ["died", "done", "done", "done"], output
    assert "killed, or out of memory?" in errors and row(output, 0)[2].startswith("its process ended without")
    assert "3 done, 1 died" in output or "1 died, 3 done" in output
    assert len(list(outputs.glob("recording/*"))) == 1


@pytest.mark.slow
def test_processes_make_a_sweep_that_any_executor_goes_on_with(tmp_path):
    line = ["-m", *SHAPES, "recording.seed=1,2"]
    done = run("simulate", tmp_path, *line, *PROCESSES)
    assert done.returncode == 0 and states(done.stdout, 2) == ["done", "done"], done.stderr
    makers = {status_of(folder)["pid"] for folder in made_by(sweep_of(tmp_path))}
    assert len(makers) == 2 and file_of(sweep_of(tmp_path))["process"]["pid"] not in makers
    again = run("simulate", tmp_path, *line)
    assert again.returncode == 0 and states(again.stdout, 2) == ["reused", "reused"]
    assert sweep_of(tmp_path), "where it is made is no part of the sweep's name"
    both = run("simulate", tmp_path, *line, "hydra/launcher=joblib", "hydra.launcher.n_jobs=-1")
    assert both.returncode == 0 and "2 reused" in both.stdout


@pytest.mark.slow
def test_processes_make_what_one_run_asks_for(tmp_path):
    job = start("train", tmp_path, *TARGET, "transfer=freeze_none", *PROCESSES)
    output, errors = job.communicate(timeout=300)
    assert job.returncode == 0, errors
    assert "train: 3 to make (1 recording, 1 pretraining, 1 training), 0 there already" in errors
    (trained,) = tmp_path.glob("training/*")
    assert status_of(trained)["pid"] != job.pid and f"model: {trained}/model.pt" in output and "3 done" in output
    assert not (tmp_path / "sweeps").exists()

    failed = run("train", tmp_path, *TARGET, "transfer=freeze_none", "clips.dt=99", *PROCESSES)
    assert failed.returncode == 1 and "Traceback" not in failed.stderr
    assert "error: pretraining freeze_none: a clip of 3 frames at dt 99.0 s" in failed.stderr
    assert "model: " not in failed.stdout


NO_SLURM = (
    "error: scontrol cannot be called (No such file or directory): the executor slurm is for a machine of a SLURM "
    "cluster from which jobs are submitted; elsewhere use executor=inline or executor=processes\n"
)


@pytest.mark.slow
@pytest.mark.parametrize("sweep", [[], ["-m", "sweep=mine"]], ids=["a run", "a sweep"])
def test_without_slurm_its_executor_ends_with_one_line_and_only_where_there_is_something_to_make(sweep, tmp_path):
    line = [*sweep, *SHAPES]
    nowhere = {"env": os.environ | {"PATH": "/nowhere"}}
    refused = run("simulate", tmp_path, *line, "executor=slurm", **nowhere)
    assert refused.returncode == 1 and refused.stderr == NO_SLURM
    assert not list(tmp_path.glob("recording/*")) and not list(tmp_path.glob("slurm/*"))
    assert run("simulate", tmp_path, *line).returncode == 0
    there = run("simulate", tmp_path, *line, "executor=slurm", **nowhere)
    assert there.returncode == 0 and "reused" in there.stderr and not besides_progress(there.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("how", [[], JOBLIB], ids=["one", "two"])
def test_ctrl_c_ends_the_whole_sweep_whose_name_nobody_takes_meanwhile(how, tmp_path):
    outputs = tmp_path / "outputs"
    job = pretrain(outputs, "sweep=mine", *how, f"pretraining.steps={LONG},{LONG + 4},4")
    wait_for_lines(job, "training clips", 2 if how else 1)
    before = (outputs / "sweeps" / "mine" / "sweep.json").read_text()
    for other in (["simulate", outputs, "-m", *SHAPES], ["pretrain", outputs, "-m", *SOURCE]):
        second = run(*other, "sweep=mine", "recording.seed=1,2")
        said = f"error: sweep mine is being run by process {job.pid} on .*, with other jobs: wait for it, or .*sweep="
        assert second.returncode == 1 and re.match(said, second.stderr), second.stderr
    assert (outputs / "sweeps" / "mine" / "sweep.json").read_text() == before
    job.send_signal(signal.SIGINT)
    output, errors = job.communicate(timeout=300)
    assert job.returncode == 130
    assert states(output, 3) == ["interrupted", "interrupted" if how else "not started", "not started"], output
    assert errors.strip().splitlines()[-1].startswith("interrupted (Ctrl-C); what is finished is kept")
    assert "Traceback" not in errors
    assert file_of(outputs / "sweeps" / "mine")["ended"]
    running = [status_of(folder)["state"] for folder in outputs.glob("unfinished/pretraining/*/*-*")]
    assert running == ["interrupted"] * (2 if how else 1)


@pytest.mark.slow
def test_the_same_line_at_the_same_time_shares_what_is_made(tmp_path):
    """The first makes the long recording, the second one meanwhile the short one, and then waits."""
    line = ["simulate", tmp_path, "-m", *SHAPES[:-1], "recording.duration=1500,8", "sweep=mine"]
    first = start(*line)
    began = wait_for_lines(first, ": making ", 1)
    second = start(*line)
    both = [job.communicate(timeout=300) for job in (first, second)]
    assert [job.returncode for job in (first, second)] == [0, 0], [errors for _, errors in both]
    output = began + "".join(said for _, said in both)
    assert output.count(": making ") == 2 and len(list(tmp_path.glob("recording/*"))) == 2
    assert re.search(rf"process {first.pid} on .* is making .*; waiting for it", both[1][1])
    assert set(states(both[1][0], 2)) == {"done", "reused"} and file_of(tmp_path / "sweeps" / "mine")["ended"]


def jobs(kind, *overrides):
    """Jobs that make artifacts of a kind."""
    made = [Artifact.at(Path("outputs") / kind / f"{hash(each) % 16**12:012x}") for each in overrides]
    return [Job(number, [each], artifact) for number, (each, artifact) in enumerate(zip(overrides, made, strict=True))]


def written_by(folder, holder, override="seed=1", ended=False):
    """The file of a sweep as a process has written it."""
    write_sweep(folder, "train", jobs("training", override), ended)
    (folder / "sweep.json").write_text(json.dumps(file_of(folder) | {"process": holder}))


@pytest.fixture
def another():
    """Another process of this machine, which lives."""
    ask = "import json, dataclasses, rwtl.pipeline.claim as c; print(json.dumps(dataclasses.asdict(c.this_process())))"
    code = f"{ask}; import sys; sys.stdout.flush(); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process, json.loads(process.stdout.readline())
        process.kill()


def test_a_name_is_of_one_line_while_it_runs(tmp_path, another):
    process, holder = another
    said = rf"sweep {tmp_path.name} is being run by process {process.pid} on .*, with other jobs"
    written_by(tmp_path, holder)
    for other in (("training", "seed=2"), ("training", "seed=1", "seed=2"), ("evaluation", "seed=1")):
        with pytest.raises(InputError, match=said):
            write_sweep(tmp_path, "train", jobs(*other), ended=False)
    assert file_of(tmp_path)["process"] == holder

    same = jobs("training", "seed=1")
    write_sweep(tmp_path, "train", same, ended=True)
    assert not file_of(tmp_path)["ended"], "the other one still runs"
    write_sweep(tmp_path, "train", same, ended=False)
    assert file_of(tmp_path)["process"] == asdict(this_process())
    written_by(tmp_path, holder, "seed=3")
    process.kill()
    process.wait()
    write_sweep(tmp_path, "train", same, ended=False)
    assert file_of(tmp_path)["jobs"][0]["overrides"] == ["seed=1"], "what a dead process left is taken over"


DAMAGED = {
    "no JSON": "{",
    "a list": "[]",
    "without jobs": "{}",
    "jobs that are none": '{"app": "simulate", "ended": true, "jobs": [{}], "process": PROCESS}',
    "no process": '{"app": "simulate", "ended": true, "jobs": [], "process": {"pid": 1}}',
    "without an end": '{"app": "simulate", "jobs": [], "process": PROCESS}',
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_of_a_sweep_is_named(damage, tmp_path):
    file = tmp_path / "sweep.json"
    file.write_text(DAMAGED[damage].replace("PROCESS", json.dumps(asdict(this_process()))))
    said = rf"^{re.escape(str(file))} is damaged \(.*\); remove it, and the sweep's line writes it anew$"
    for use in (read_jobs, lambda folder: write_sweep(folder, "simulate", [], ended=False)):
        with pytest.raises(InputError, match=said):
            use(tmp_path)


@pytest.mark.slow
def test_a_sweep_of_an_earlier_version_is_read(tmp_path, capsys):
    """It has a file for each job, by number, with the folders of what the job asked for, its result last."""
    assert run("train", tmp_path, *TARGET, "transfer=scratch").returncode == 0
    (trained,) = tmp_path.glob("training/*")
    folder = tmp_path / "sweeps" / "old"
    folder.mkdir(parents=True)
    artifacts = {10: [str(tmp_path / "recording" / "gone"), str(trained)], 2: []}
    for number, paths in artifacts.items():
        record = {"number": number, "overrides": [], "state": "complete", "reused": False, "artifacts": paths}
        (folder / f"{number}.json").write_text(json.dumps(record))
    assert made_by(folder) == [None, trained]
    (found,) = find_runs(folder)
    assert found.folder == trained
    print_sweeps(tmp_path)
    assert capsys.readouterr().out == "sweep old: 1 failed, 1 complete\n"
    (folder / "2.json").write_text("{")
    with pytest.raises(InputError, match=rf"no training is found in .*{folder}/2\.json is damaged"):
        find_runs(folder)
    print_sweeps(tmp_path)
    assert capsys.readouterr().out.startswith(f"sweep old: {folder}/2.json is damaged")


@pytest.mark.slow
def test_a_damaged_sweep_is_named_by_all_that_read_it_and_hides_no_other(tmp_path):
    line = ["simulate", tmp_path, "-m", *SHAPES, "sweep=mine"]
    assert run(*line).returncode == 0 and run(*line[:-1], "sweep=other").returncode == 0
    file = tmp_path / "sweeps" / "mine" / "sweep.json"
    file.write_text("{")
    for again in (line, ["compare", tmp_path, f"runs={tmp_path}/sweeps/mine"]):
        done = run(*again)
        assert done.returncode == 1 and f"{file} is damaged (Invalid JSON" in done.stderr, done
        assert len(done.stderr.splitlines()) == 1
    listed = run("status", tmp_path)
    assert listed.returncode == 0 and f"sweep mine: {file} is damaged" in listed.stdout
    assert "sweep other: 1 complete\n" in listed.stdout
    file.unlink()
    assert run(*line).returncode == 0 and file_of(file.parent)["ended"]


def test_a_folder_that_cannot_be_written_says_where(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=f"^cannot write to {tmp_path}/file/s .*paths.outputs"):
        write_sweep(tmp_path / "file" / "s", "train", [], ended=False)


PLUGIN = "print('mine is there')\n"


@pytest.mark.slow
def test_programs_without_artifacts_run_one_after_the_other_and_one_that_fails_stops_no_other(tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    line = ["-m", "procedural.height=32", "procedural.width=32", f"plugins=[{tmp_path}/mine.py]", "sweep=mine"]
    done = run("displacements", tmp_path, *line, "scenes=0,1")
    assert done.returncode == 1 and done.stderr == "error: job 0: procedural.size is 0; it must be at least 1\n"
    assert "sweep mine: job 0 failed, job 1 done\n" in done.stdout and "table: " in done.stdout
    assert done.stdout.count("mine is there") == 1
    assert not (tmp_path / "sweeps").exists(), "there is nothing to keep of it"


@pytest.mark.slow
def test_a_programs_recordings_are_made_by_the_executor_of_its_sweep(tmp_path):
    line = ["-m", *SHAPES, "motion.datasets=[procedural_validation]", "motion.pairs=1", "recording.seed=-1,1"]
    job = start("motion_statistics", tmp_path, *line, *JOBLIB)
    output, errors = job.communicate(timeout=300)
    assert job.returncode == 1 and "error: job 0: recording.seed is -1" in errors and "Traceback" not in errors
    assert re.search(r"^sweep .*: job 0 failed, job 1 done$", output, re.MULTILINE), output
    (made,) = tmp_path.glob("recording/*")
    assert status_of(made)["pid"] != job.pid


@pytest.mark.slow
def test_a_reader_that_has_enough_stops_no_work(tmp_path):
    """As with `2>&1 | head -1`: nobody reads on after the first line."""
    job = start("simulate", tmp_path, "-m", *SHAPES, "recording.seed=1,2")
    assert job.stderr.readline()
    for stream in (job.stdout, job.stderr):
        stream.close()
    assert job.wait(timeout=300) == 0
    assert len([file for file in tmp_path.glob("recording/*/status.json") if '"complete"' in file.read_text()]) == 2


@pytest.mark.slow
def test_a_configuration_that_an_artifact_keeps_takes_an_executor_and_a_sweep(tmp_path):
    assert run("simulate", tmp_path, *SHAPES).returncode == 0
    (folder,) = tmp_path.glob("recording/*")
    line = ["--config-path", str(folder), "--config-name", "config"]
    again = run("simulate", tmp_path, *line, "executor=processes")
    assert again.returncode == 0 and f"reused {folder}" in again.stderr, again.stderr
    swept = run("simulate", tmp_path, *line, "-m", "recording.seed=1,2", "executor=processes")
    assert swept.returncode == 0 and "2 done" in swept.stdout and (tmp_path / "sweeps").is_dir(), swept.stderr
    wrong = run("simulate", tmp_path, *line, "executor=cloud")
    assert wrong.returncode == 1 and "error: executor is cloud; choose one of inline, processes, slurm" in wrong.stderr


def test_processes_need_a_program_that_they_can_import(tmp_path):
    program = "import rwtl; rwtl.build_all([rwtl.recording(rwtl.compose('simulate', outputs='o'))])"
    done = subprocess.run([sys.executable, "-"], input=program, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and "InputError: the program is read from <stdin>" in done.stderr
    assert not (tmp_path / "o").exists()
