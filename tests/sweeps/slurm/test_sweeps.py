"""Sweeps on a real cluster: what they need is made once and first, and a job that fails stops no other."""

import json
import os
import pty
import signal

import pytest
from sweeps import SCENES, SHAPES, SLURM, SOURCE, TRAINING, environment, queue, row, run, slurm, start, until

MADE = {
    "scratch": ("scratch", "clips: {dt: 0.2}"),
    "scratch_far": ("scratch", "clips: {dt: 0.4}"),
    "near": ("freeze_none", "clips: {dt: 0.2}"),
    "near_frozen": ("freeze_encoder", "clips: {dt: 0.2}"),
}
FAILED = {
    "broken": ("scratch", "seed: 2\ntrainer: {accelerator: gpu}"),
    "lost": ("freeze_none", "clips: {dt: 0.2}\npretraining: {learning_rate: 1e30, steps: 40}"),
    "senseless": ("scratch", "seed: -1"),
}


def accounts():
    """What SLURM's accounts say of every job of an app, by its number."""
    fields = ("JobIDRaw", "JobID", "JobName", "Partition", "State", "Start", "End")
    lines = slurm("sacct", "-XnP", f"--format={','.join(fields)}").splitlines()
    return {line.split("|")[0]: dict(zip(fields, line.split("|"), strict=True)) for line in lines}


@pytest.mark.slow
def test_a_sweep_makes_what_its_jobs_need_in_jobs_of_its_own_and_one_that_fails_stops_no_other(cluster, tmp_path):
    """Of seven jobs two find the same training, one fails on the cluster, one before it, and one upstream."""
    outputs, presets = tmp_path / "outputs", tmp_path / "presets" / "experiment"
    presets.mkdir(parents=True)
    for name, (transfer, changes) in (MADE | FAILED).items():
        steps = "" if "steps" in changes else "pretraining: {steps: 0}\n"
        content = f"# @package _global_\ndefaults:\n  - override /transfer: {transfer}\n{steps}{changes}\n"
        (presets / f"{name}.yaml").write_text(content)
    line = ["-m", "--config-dir", str(presets.parent), *SOURCE, *SCENES]
    line += [*(f"training.{value}" for value in TRAINING), *SLURM, "sweep=grid"]
    line += ["+hydra.launcher.stages.pretraining.partition=low"]
    code, output, errors = run("train", outputs, *line, f"experiment={','.join(MADE | FAILED)}")
    assert code == 1, errors
    states = {name: row(output, number)[1] for number, name in enumerate(MADE | FAILED)}
    assert {states.pop("scratch"), states.pop("scratch_far")} == {"done", "reused"}, "the same training at both dt"
    assert states == dict.fromkeys(("near", "near_frozen"), "done") | dict.fromkeys(FAILED, "failed"), output
    assert "8 SLURM jobs submitted" in errors, "a recording, two pre-trainings and five trainings"
    assert "senseless" in row(output, 6)[0] and "seed is -1" in row(output, 6)[2]
    assert "trainer.accelerator is 'gpu'" in row(output, 4)[2]
    assert "what it needs was not made: pretraining" in row(output, 5)[2]
    assert "the loss is" in errors and "trainer.accelerator is" in errors
    assert "Traceback" not in errors and queue("%i") == []

    jobs = accounts()
    states = {
        name: sorted(job["State"] for job in jobs.values() if job["JobName"] == f"train-{name}")
        for name in ("recording", "pretraining", "training")
    }
    assert states["recording"] == ["COMPLETED"]
    assert states["pretraining"] == ["COMPLETED", "FAILED"]
    assert states["training"].count("COMPLETED") == 3 and "FAILED" in states["training"]
    assert {job["Partition"] for job in jobs.values() if job["JobName"] == "train-pretraining"} == {"low"}
    made = {}
    for file in outputs.glob("*/*/status.json"):
        status = json.loads(file.read_text())
        if status["state"] == "complete":
            made[file.parent.name] = (jobs[status["slurm_job"]], status["parents"].values())
    assert sorted(job["JobName"] for job, _ in made.values()) == [
        "train-pretraining",
        "train-recording",
        *["train-training"] * 3,
    ]
    for job, parents in made.values():
        assert all(made[parent][0]["End"] <= job["Start"] for parent in parents), "jobs wait for what they need"
    sweep = json.loads((outputs / "sweeps" / "grid" / "sweep.json").read_text())["jobs"]
    submitted = json.loads((outputs / "slurm" / "jobs.json").read_text())
    begun = [submitted[f"{job['kind']}/{job['digest']}"] for job in sweep if job["digest"]]
    (first,) = (job["Start"] for job in jobs.values() if job["JobID"] == begun[0])
    needed = max(job["End"] for job, _ in made.values() if job["JobName"] == "train-pretraining")
    assert first < needed, "training from scratch waits for nothing"
    log = outputs / "slurm" / begun[2] / f"{begun[2]}_0_log.out"
    assert "validation EPE after 1 steps" in log.read_text()

    line.append(f"experiment={','.join(MADE)}")
    code, output, errors = run("train", outputs, *line, env=environment(SLURM_CONF="/nowhere"))
    assert code == 0 and "SLURM" not in output + errors, errors
    assert [row(output, number)[1] for number in range(4)] == ["reused"] * 4


def submitted(job):
    """What a line says until its jobs are in the queue."""
    said = ""
    while "SLURM jobs submitted" not in said:
        line = job.stderr.readline()
        assert line, said
        said += line
    return said


@pytest.mark.slow
def test_ctrl_c_asks_whether_to_cancel_and_the_same_line_goes_on_watching(cluster, tmp_path):
    """Its jobs are held in the queue until somebody lets them go."""
    held = ["-m", *SHAPES, *SLURM, "+hydra.launcher.additional_parameters={hold:true}"]
    line = [*held, "recording.seed=1,2", "sweep=held"]
    terminal, of_job = pty.openpty()
    job = start("simulate", tmp_path / "outputs", *line, stdin=of_job)
    said = submitted(job)
    assert len(queue("%i")) == 2
    job.send_signal(signal.SIGINT)
    os.write(terminal, b"n\n")
    output, errors = job.communicate(timeout=300)
    output = said + output
    (ids,) = {id.split("_")[0] for (id,) in queue("%i")}
    assert job.returncode == 130 and f"cancel the jobs, queued or running ({ids})? [y/N]" in output, errors
    assert f"the jobs go on; the same line watches them again, and scancel {ids} ends them" in errors
    assert [row(output, number)[1] for number in range(2)] == ["not started"] * 2 and len(queue("%i")) == 2

    job = start("simulate", tmp_path / "outputs", *line, stdin=of_job)
    said = submitted(job)
    slurm("scontrol", "release", ids)
    output, errors = job.communicate(timeout=300)
    assert job.returncode == 0, errors
    assert "0 SLURM jobs submitted, 2 were in the queue" in said
    assert [row(output, number)[1] for number in range(2)] == ["done"] * 2

    job = start("simulate", tmp_path / "outputs", *held, "recording.seed=3,4", "sweep=other", stdin=of_job)
    submitted(job)
    job.send_signal(signal.SIGINT)
    os.write(terminal, b"y\n")
    output, errors = job.communicate(timeout=300)
    assert job.returncode == 130 and "the jobs are cancelled" in errors, errors
    until(lambda: queue("%i") == [], "the end of the jobs")
