"""What is wrong with a cluster, or asked of it, ends with one clear message, and leaves nothing in the queue."""

import os
import re
import subprocess

import pytest
from cluster import HIDDEN
from sweeps import SHAPES, SLURM, environment, queue, row, run, slurm, until

from rwtl.files import write_json
from rwtl.pipeline.artifact import Artifact, build
from rwtl.sweeps import slurm as slurm_executor
from rwtl.sweeps import slurm_queue
from rwtl.sweeps.scheduler import build_all
from rwtl.sweeps.sweep import executor_of

LINE = ["-m", *SHAPES, *SLURM, "recording.seed=1,2", "sweep=bad"]

REFUSED = {
    "an unknown partition": (
        ["hydra.launcher.partition=gpu"],
        r"SLURM refuses a job, .*[Ii]nvalid partition.*hydra\.launcher\.partition is one of lonely, low, normal$",
    ),
    "an unknown account": (["hydra.launcher.account=physics"], r"[Ii]nvalid account.*hydra\.launcher\.account"),
    "too much": (["hydra.launcher.mem_gb=1e6"], r"Memory specification can not be satisfied"),
    "a warning after the limit": (
        ["hydra.launcher.timeout_min=1"],
        r"signal_delay_s is 120, which is no less than timeout_min=1",
    ),
    "an unknown key": (["+hydra.launcher.partion=low"], r"hydra\.launcher\.partion: .*partition"),
    "an unknown stage": (
        ["+hydra.launcher.stages.simulation.partition=low"],
        r"stages\.simulation is no stage; .*recording",
    ),
    "an unknown key of a stage": (["+hydra.launcher.stages.recording.gpus=1"], r"stages\.recording\.gpus: "),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_cluster_does_not_have_is_named(case, cluster, tmp_path):
    overrides, named = REFUSED[case]
    code, _, errors = run("simulate", tmp_path / "outputs", *LINE, *overrides)
    (line,) = (line for line in errors.splitlines() if line.startswith("error: "))
    assert code == 1 and re.search(named, line), errors
    assert "Traceback" not in errors and queue("%i") == []


ALONE = {
    "an unknown partition": (
        ["executor=slurm", "executor.partition=gpu"],
        r"executor\.partition is one of lonely, low",
    ),
    "an unknown stage": (
        ["executor=slurm", "+executor.stages.simulation.partition=low"],
        r"executor\.stages\.simulation",
    ),
    "a launcher without a multirun": (["hydra/launcher=slurm"], r"hydra/launcher=slurm is for .*executor=slurm"),
}


@pytest.mark.parametrize("case", ALONE)
def test_a_single_run_names_its_own_keys(case, cluster, tmp_path):
    overrides, named = ALONE[case]
    code, _, errors = run("simulate", tmp_path / "outputs", *SHAPES, *overrides)
    (line,) = (line for line in errors.splitlines() if line.startswith("error: "))
    assert code == 1 and re.search(named, line), errors
    assert "Traceback" not in errors and queue("%i") == []


def test_two_executors_are_one_too_many(cluster, tmp_path):
    code, _, errors = run("simulate", tmp_path / "outputs", *LINE, "executor=inline")
    assert code == 1 and errors.startswith("error: hydra/launcher=slurm and executor=inline both say where"), errors


def test_a_ledger_that_is_damaged_is_named(cluster, tmp_path):
    (made_in(tmp_path / "outputs" / "slurm") / "jobs.json").write_text("{")
    code, _, errors = run("simulate", tmp_path / "outputs", *LINE)
    assert code == 1 and "slurm/jobs.json is damaged" in errors and queue("%i") == []


def test_a_controller_that_is_away_and_a_machine_without_slurm_are_named(cluster, tmp_path):
    text = (cluster / "slurm.conf").read_text()
    (tmp_path / "slurm.conf").write_text(re.sub("SlurmctldPort=.*", "SlurmctldPort=1", text))
    away = environment(SLURM_CONF=str(tmp_path / "slurm.conf"))
    code, _, errors = run("simulate", tmp_path / "outputs", *LINE, env=away)
    assert code == 1 and "error: SLURM's controller does not answer (Slurmctld(primary) at" in errors, errors
    code, _, errors = run("simulate", tmp_path / "outputs", *LINE, env=environment(PATH="/nowhere"))
    assert code == 1 and "error: scontrol cannot be called (No such file or directory): the executor slurm is" in errors
    assert "Traceback" not in errors and queue("%i") == []


def test_a_node_that_cannot_write_to_the_outputs_is_named(cluster, tmp_path):
    if subprocess.run(["unshare", "--mount", "true"]).returncode:
        pytest.skip("no node can be kept from seeing a folder here: unshare --mount is not allowed")
    outputs = cluster / HIDDEN / "outputs"
    code, output, errors = run("simulate", outputs, *LINE, "hydra.launcher.partition=lonely")
    assert code == 1, errors
    for number in range(2):
        (_, state, reason, *_) = row(output, number)
        assert state == "died" and "FAILED on n4" in reason, output
    assert f"before it wrote a log: can its node write to {outputs}" in errors


def held(outputs, count):
    """Artifacts whose jobs are in the queue already, and wait until they are let go, or cancelled."""
    options = ["--parsable", "--hold", "--output=/dev/null", "--wrap=true"]
    artifacts = [
        Artifact("training", f"part {number}", {"part": number}, lambda _: None, outputs) for number in range(count)
    ]
    jobs = {f"{each.kind}/{each.digest}": slurm("sbatch", *options).strip() for each in artifacts}
    write_json(made_in(outputs / "slurm") / "jobs.json", jobs)
    return artifacts, list(jobs.values())


def made_in(folder):
    folder.mkdir(parents=True)
    return folder


def watched(outputs, artifacts):
    """What becomes of them."""
    values = {"kind": "slurm", "poll": 0.1, "submitit_folder": str(outputs / "slurm" / "%j")}
    return list(build_all(artifacts, executor_of(values, "executor", "mine")).values())


def without(program, tmp_path):
    """A path on which all programs are but one."""
    for folder in reversed(os.environ["PATH"].split(":")):
        for file in sorted(os.scandir(folder), key=lambda each: each.name) if os.path.isdir(folder) else ():
            link = tmp_path / "bin" / file.name
            link.parent.mkdir(exist_ok=True)
            link.unlink(missing_ok=True)
            if file.name != program:
                link.symlink_to(file.path)
    return str(tmp_path / "bin")


def test_without_accounts_jobs_are_judged_all_the_same(cluster, tmp_path, monkeypatch):
    """One is cancelled, one says that it is complete, one ends without a word."""
    artifacts, jobs = held(tmp_path, 3)
    monkeypatch.setenv("PATH", without("sacct", tmp_path))
    monkeypatch.setattr(slurm_executor, "GRACE", 1.0)
    real, calls = slurm_queue.command, []

    def command(*words):
        if words[0] == "squeue":
            calls.append(words)
            if len(calls) == 2:
                slurm("scancel", jobs[0])
                build(artifacts[1])
                slurm("scontrol", "release", jobs[1], jobs[2])
        return real(*words)

    monkeypatch.setattr(slurm_queue, "command", command)
    outcomes = watched(tmp_path, artifacts)
    assert [outcome.state for outcome in outcomes] == ["died", "done", "died"]
    assert "SLURM cannot say how: sacct cannot be called (No such file or directory)" in outcomes[0].reason


def test_a_controller_that_goes_away_in_between_is_waited_for(cluster, tmp_path, monkeypatch, capsys):
    artifacts, jobs = held(tmp_path, 1)
    real, calls = slurm_queue.command, []

    def command(*words):
        if words[0] == "squeue":
            calls.append(words)
            if len(calls) in (2, 3):  # as it says itself, but without the 9 s that it takes to
                return real("sh", "-c", "echo slurm_load_jobs error: Unable to contact slurm controller >&2; exit 1")
            if len(calls) == 4:
                slurm("scancel", *jobs)
                until(lambda: queue("%i") == [], "the end of the job")
        return real(*words)

    monkeypatch.setattr(slurm_queue, "command", command)
    (outcome,) = watched(tmp_path, artifacts)
    lines = capsys.readouterr().err.splitlines()
    assert sum("Unable to contact slurm controller; the jobs go on meanwhile" in line for line in lines) == 1
    assert sum("SLURM answers again" in line for line in lines) == 1
    assert outcome.state == "interrupted" and f"SLURM job {jobs[0]} was cancelled" in outcome.reason
