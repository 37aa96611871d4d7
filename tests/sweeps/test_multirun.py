"""Multiruns as a user runs them, whole processes at a tiny scale; and what is easier to see from within."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path

import pytest
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf
from tiny import run, start

from rwtl.errors import InputError
from rwtl.pipeline.claim import this_process
from rwtl.sweeps.jobs import JobRecord, job_states, read_records, write_record
from rwtl.sweeps.sweep import claimed, launch

SHAPES = ["recording=moving_shapes", "recording.rows=24", "recording.columns=24", "recording.duration=8"]
CLIPS = ["clips.active=[0,1]", "clips.gap=0.5", "clips.crop=16", "trainer.threads=1"]
PRETRAINING = ["validate_every=4", "batch_size=2", "validation_clips=4", "iterations=1"]
SOURCE = [*SHAPES, *CLIPS, *(f"pretraining.{value}" for value in PRETRAINING)]
TRAINING = ["steps=1", "validate_every=1", "batch_size=1", "iterations=1", "validation_iterations=1"]
SCENES = [
    *(f"datasets.procedural_training.{value}" for value in ("height=32", "width=32", "mean_displacement=2", "size=4")),
    "datasets.procedural_validation.size=2",
]


def records_of(outputs):
    (folder,) = (outputs / "sweeps").glob("*/")
    return read_records(folder)


def row(table, number):
    """The cells of a job in a table on the terminal, but for what is folded into further lines."""
    (cells,) = re.findall(rf"^│ +{number} │(.*)│$", table, re.MULTILINE)
    return [cell.strip() for cell in cells.split("│")]


@pytest.mark.slow
def test_a_failed_job_neither_stops_nor_hides_the_others_and_alone_is_tried_again(tmp_path):
    line = ["-m", *SHAPES, "recording.seed=1,-1,2"]
    outputs = tmp_path / "outputs"
    first = run("simulate", outputs, *line, cwd=tmp_path)
    assert first.returncode == 1
    assert [row(first.stdout, number)[1] for number in range(3)] == ["done", "failed", "done"]
    assert row(first.stdout, 1)[0] == "recording.seed=-1" and "recording.seed is -1" in row(first.stdout, 1)[2]
    assert "2 done, 1 failed" in first.stdout
    assert re.findall("^error: .*", first.stderr, re.MULTILINE) == [
        "error: job 1: recording.seed is -1; it must lie in 0 to 9223372036854775807"
    ]
    assert "Traceback" not in first.stderr

    records = records_of(outputs)
    assert [record.state for record in records.values()] == ["complete", "failed", "complete"]
    assert not any(record.reused for record in records.values()) and records[1].artifacts == []
    (made,) = records[2].artifacts
    assert "recording.seed=2" in records[2].overrides and json.loads((Path(made) / "status.json").read_text())
    assert row(first.stdout, 2)[-1] in made

    again = run("simulate", outputs, *line, cwd=tmp_path)
    assert again.returncode == 1 and "making" not in again.stdout
    assert [row(again.stdout, number)[1] for number in range(3)] == ["reused", "failed", "reused"]
    assert len(list((outputs / "sweeps").glob("*/"))) == 1, "the same line is the same sweep"
    assert [file.name for file in tmp_path.iterdir()] == ["outputs"], "nothing beside the artifacts"
    alone = run("simulate", outputs, *SHAPES, "recording.seed=2")
    assert alone.returncode == 0 and f"reused {made}" in alone.stdout, "the sweep's name determines no artifact"


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
    assert done.stdout.count("recording of moving shapes: making") == 1


def pretrain(outputs, *overrides):
    return start("pretrain", outputs, "-m", *SOURCE, "clips.dt=0.2", *overrides)


def wait_for_trainings(job, count):
    """Read on until so many have begun."""
    said, watchdog = "", threading.Timer(300, os.killpg, (job.pid, signal.SIGKILL))
    watchdog.start()
    try:
        while said.count("training clips") < count:
            line = job.stdout.readline()
            assert line, f"{said}\n{job.stderr.read()}"
            said += line
    finally:
        watchdog.cancel()


@pytest.mark.slow
def test_jobs_run_side_by_side_and_those_after_a_dead_one_run_too(tmp_path):
    """Of two processes, one trains for ever and is killed; joblib then ends the other. What is left runs yet."""
    outputs = tmp_path / "outputs"
    side_by_side = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.launcher.pre_dispatch=2"]
    job = pretrain(outputs, *side_by_side, "pretraining.steps=400000,400004,0,4")
    wait_for_trainings(job, 2)
    records = records_of(outputs)
    assert [records[number].state for number in (0, 1)] == ["running", "running"]
    assert len({records[number].process["pid"] for number in (0, 1)} | {job.pid}) == 3
    os.kill(records[0].process["pid"], signal.SIGKILL)
    output, errors = job.communicate(timeout=300)
    assert job.returncode == 1
    assert [row(output, number)[1] for number in range(4)] == ["died", "died", "done", "done"], output
    assert f"process {records[0].process['pid']} " in row(output, 0)[2] and "a process of the launcher died" in errors
    assert len(list(outputs.glob("recording/*"))) == 1


@pytest.mark.slow
def test_ctrl_c_ends_the_whole_sweep_which_one_process_runs_at_a_time(tmp_path):
    outputs = tmp_path / "outputs"
    write_record(outputs / "sweeps" / "mine", JobRecord(2, ["of an earlier run"], state="complete"))
    job = pretrain(outputs, "sweep=mine", "pretraining.steps=0,400000,4")
    wait_for_trainings(job, 2)
    second = run("simulate", outputs, "-m", *SHAPES, "sweep=mine", "recording.seed=1,2")
    assert second.returncode == 1 and f"sweep mine is being run by process {job.pid} " in second.stderr
    job.send_signal(signal.SIGINT)
    output, errors = job.communicate(timeout=300)
    assert job.returncode == 130
    assert [row(output, number)[1] for number in range(3)] == ["done", "interrupted", "not started"]
    assert errors.strip().splitlines()[-1] == "interrupted (Ctrl-C); the same line goes on from there"
    assert "Traceback" not in errors
    assert records_of(outputs)[1].reason == "Ctrl-C"


@pytest.mark.slow
def test_a_search_outlives_failed_trials_and_its_end(tmp_path):
    """dt 99 s is longer than the recording, so that trials fail."""
    line = ["-m", "hparams_search=nfp", *SOURCE, "pretraining.steps=0", "clips.dt=choice(0.2,99)"]
    settings = ["pretraining.learning_rate=1e-3", "pretraining.weight_decay=1e-4", "hydra.sweeper.n_trials=4"]
    outputs = tmp_path / "outputs"
    first = run("pretrain", outputs, *line, *settings, "hydra.sweeper.max_failure_rate=1")
    assert first.returncode == 0, first.stderr
    states = {row(first.stdout, number)[0]: row(first.stdout, number)[1] for number in range(4)}
    assert set(states) == {"clips.dt=0.2", "clips.dt=99"} and states["clips.dt=99"] == "failed"
    assert re.search(r"best: trial \d, [\d.]+: clips\.dt=0\.2$", first.stdout, re.MULTILINE)
    again = run("pretrain", outputs, *line, *settings, "hydra.sweeper.max_failure_rate=0.1")
    assert again.returncode == 1 and "Launching" not in again.stdout, "all trials were there"
    assert re.search(r"error: \d of 4 trials failed, more than hydra\.sweeper\.max_failure_rate=0\.1", again.stderr)


def trials(tmp_path, seed=1, **changes):
    from optuna.distributions import CategoricalDistribution, LogUniformDistribution

    from rwtl.sweeps.search import Trials

    space = {"rate": LogUniformDistribution(1e-4, 1), "batch": CategoricalDistribution((4, 8))}
    sampler = OmegaConf.create({"_target_": "optuna.samplers.TPESampler", "seed": seed, "n_startup_trials": 2})
    settings = {"name": "a", "storage": f"sqlite:///{tmp_path}/made/a.db", "direction": "minimize"}
    return Trials(**({**settings, "sampler": sampler, "space": space, "about": {"app": "pretrain"}} | changes))


def ended(number, value):
    return JobRecord(number, [], state="failed" if value is None else "complete", value=value)


def ask_and_tell(search, count):
    """Return the next points, telling the rate as the value of each."""
    points = []
    for _ in range(count):
        ((number, point),) = search.ask(1).items()
        search.tell(number, ended(number, point["rate"]))
        points.append(point)
    return points


def test_a_search_that_was_killed_proposes_what_it_would_have_proposed(tmp_path):
    whole = ask_and_tell(trials(tmp_path / "whole"), 6)
    assert len({point["rate"] for point in whole}) == 6
    parts = ask_and_tell(trials(tmp_path), 3)
    killed = trials(tmp_path)
    ((number, half_done),) = killed.ask(1).items()
    resumed = trials(tmp_path)
    resumed.take_up({number: JobRecord(number, [])})
    assert len(resumed.all()) == 3, "a trial that was killed is not counted"
    parts += ask_and_tell(resumed, 3)
    assert parts == whole and parts[3] == half_done
    assert resumed.best().params == min(whole, key=lambda point: point["rate"])


def test_the_point_of_a_trial_that_was_killed_is_tried_again_without_a_seed_too(tmp_path):
    ((number, half_done),) = trials(tmp_path, seed=None).ask(1).items()
    resumed = trials(tmp_path, seed=None)
    resumed.take_up({})
    ((again, point), (_, other)) = resumed.ask(2).items()
    assert again > number and point == half_done != other


def test_a_trial_that_had_finished_when_the_search_was_killed_is_not_run_again(tmp_path):
    ((number, _),) = trials(tmp_path).ask(1).items()
    resumed = trials(tmp_path)
    resumed.take_up({number: ended(number, 0.5)})
    assert [trial.value for trial in resumed.all()] == [0.5]
    ((failed, _),) = resumed.ask(1).items()
    resumed.tell(failed, ended(failed, None))
    assert [trial.number for trial in resumed.failed()] == [failed] and len(trials(tmp_path).all()) == 2


def test_a_study_of_something_else_and_a_storage_that_cannot_be_used_are_refused(tmp_path):
    trials(tmp_path)
    with pytest.raises(InputError, match=r"study a was searched with seed=not set, now it is 2; .*study_name"):
        trials(tmp_path, about={"app": "pretrain", "seed": "2"})
    with pytest.raises(InputError, match="study a was searched with batch="):
        trials(tmp_path, space={})
    (tmp_path / "text.db").write_text("this is no database, and long enough to be seen as none" * 40)
    for storage in (f"sqlite:///{tmp_path}/text.db", "sqlite:////dev/null/a.db", "nonsense"):
        with pytest.raises(InputError, match=re.escape(f"storage is {storage}, which cannot be used")):
            trials(tmp_path, storage=storage)


class Unreliable(Launcher):
    """Runs the jobs up to a bad one, and then does `at_bad`: raises, or returns less than it was given."""

    def __init__(self, folder, at_bad):
        self.folder = folder
        self.at_bad = at_bad

    def setup(self, *, hydra_context, task_function, config):
        pass

    def launch(self, job_overrides, initial_job_idx):
        for number, overrides in enumerate(job_overrides, start=initial_job_idx):
            bad = overrides == ["bad"]
            write_record(self.folder, JobRecord(number, overrides, state="running" if bad else "complete"))
            if bad:
                return self.at_bad()


def broken():
    raise BrokenProcessPool("a process was killed")


def ill():
    raise RuntimeError("lost the queue")


@pytest.mark.parametrize(
    ("at_bad", "states", "said"),
    [
        (lambda: None, ["done", "died", "not started", "not started"], ""),
        (broken, ["done", "died", "done", "done"], "a process was killed"),
        (ill, ["done", "died", "not started", "not started"], "lost the queue"),
    ],
)
def test_jobs_are_judged_by_their_records_whatever_the_launcher_does(at_bad, states, said, tmp_path, capsys):
    jobs = {4: ["good"], 5: ["bad"], 6: ["good"], 7: ["good"]}
    assert launch(Unreliable(tmp_path, at_bad), jobs, tmp_path) == []
    assert [job.state for job in job_states(jobs, read_records(tmp_path), ended=True)] == states
    assert said in capsys.readouterr().err


def test_a_job_that_another_machine_still_runs_is_told_from_one_that_died(tmp_path):
    elsewhere = asdict(this_process()) | {"machine": "another", "host": "node7"}
    write_record(tmp_path, JobRecord(0, ["seed=1", "x=2"], log="a.log", host="node7", process=elsewhere))
    jobs, records = {0: ["seed=1", "x=2"], 1: ["seed=2", "x=2"]}, read_records(tmp_path)
    (left, not_started) = job_states(jobs, records, ended=False)
    assert (left.state, left.where, left.differs) == ("running", "a.log", "seed=1")
    assert (not_started.state, not_started.differs) == ("not started", "seed=2")
    (died, _) = job_states(jobs, records, ended=True)
    assert died.state == "died" and "node7" in died.reason


CLAIM = """
import os, sys
from pathlib import Path
from rwtl.pipeline.claim import claim
claim(Path(sys.argv[1]), lambda: False, print)
os._exit(1)
"""


def test_a_sweep_whose_process_died_is_taken_over(tmp_path):
    assert subprocess.run([sys.executable, "-c", CLAIM, str(tmp_path / "claims")]).returncode == 1
    assert list((tmp_path / "claims").iterdir())
    with claimed(tmp_path, "mine"):
        pass
    assert not (tmp_path / "claims").exists()


def test_a_sweep_of_another_machine_is_refused_once_it_gave_a_sign_of_life(tmp_path):
    file = tmp_path / "claims" / "000001"
    file.parent.mkdir()
    file.write_text(json.dumps(asdict(this_process()) | {"machine": "another", "host": "node7"}))
    stop = threading.Event()

    def live():
        for _ in range(10):
            if not stop.wait(0.7):
                os.utime(file)

    thread = threading.Thread(target=live)
    thread.start()
    try:
        with (
            pytest.raises(InputError, match=r"sweep mine is being run by process .* on node7"),
            claimed(tmp_path, "mine"),
        ):
            pass
    finally:
        stop.set()
        thread.join()


def test_a_record_that_cannot_be_written_says_where(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=f"cannot write to {tmp_path}/file/s on .*paths.outputs"):
        write_record(tmp_path / "file" / "s", JobRecord(0, []))
