"""Sweeps on a real cluster: what they need is made once and first, and a job that fails stops no other."""

import json
import os
import pty
import signal
from pathlib import Path

from sweeps import SCENES, SHAPES, SLURM, SOURCE, TARGET, TRAINING, environment, queue, row, run, slurm, start, until


def test_a_sweep_makes_what_its_jobs_need_in_jobs_of_its_own_and_again_needs_no_cluster(cluster, tmp_path):
    outputs = tmp_path / "outputs"
    line = ["-m", *TARGET, *SLURM, "clips.dt=0.2,0.4", "transfer=scratch,freeze_none,freeze_encoder"]
    line += ["+hydra.launcher.stages.pretraining.partition=low", "sweep=grid"]
    code, output, errors = run("train", outputs, *line)
    assert code == 0, errors
    states = [row(output, number)[1] for number in range(6)]
    assert {states.pop(3), states.pop(0)} == {"done", "reused"}, "training from scratch is the same at both dt"
    assert states == ["done"] * 4
    assert "sweep grid: 6 jobs submitted, 3 for what they need" in output

    fields = ("JobID", "JobName", "Partition", "State", "Start", "End")
    lines = slurm("sacct", "-XnP", f"--format={','.join(fields)}").splitlines()
    jobs = [dict(zip(fields, line.split("|"), strict=True)) for line in lines]
    made = {
        name: [job for job in jobs if job["JobName"] == f"train{name}"] for name in ("-recording", "-pretraining", "")
    }
    assert [len(of) for of in made.values()] == [1, 2, 6]
    assert {job["State"] for of in made.values() for job in of} == {"COMPLETED"}
    assert {job["Partition"] for job in made["-pretraining"]} == {"low"}
    assert made["-recording"][0]["End"] <= min(job["Start"] for job in made["-pretraining"])
    begun = json.loads((outputs / "sweeps" / "grid" / "slurm_jobs.json").read_text())["jobs"]
    apart = [job for job in made[""] if job["JobID"] in (begun["0"], begun["3"])]
    assert len(apart) == 2, "training from scratch needs nothing, and waits for nothing"
    last = max(job["End"] for job in made["-pretraining"])
    assert all(
        job["Start"] >= min(each["End"] for each in made["-pretraining"]) for job in made[""] if job not in apart
    )
    assert max(job["Start"] for job in made[""]) >= last

    for folder in (*outputs.glob("recording/*"), *outputs.glob("pretraining/*"), *outputs.glob("training/*")):
        status = json.loads((folder / "status.json").read_text())
        assert status["state"] == "complete" and status["slurm_job"], "made on the cluster"
    log = Path(outputs / "sweeps" / "grid" / "slurm" / begun["1"] / f"{begun['1']}_0_log.out")
    assert "validation EPE after 1 steps" in log.read_text()

    code, output, errors = run("train", outputs, *line, env=environment(SLURM_CONF="/nowhere"))
    assert code == 0 and "6 of 6 jobs have nothing to make and run here" in output, errors
    assert [row(output, number)[1] for number in range(6)] == ["reused"] * 6


PRESETS = {
    "fine": "seed: 1",
    "broken": "seed: 2\ntrainer: {accelerator: gpu}",
    "lost": "seed: 1\ntransfer: {source: pretraining}\npretraining: {learning_rate: 1e30, steps: 40}",
    "senseless": "seed: -1",
}


def test_jobs_that_fail_here_there_and_upstream_are_told_apart_and_stop_no_other(cluster, tmp_path):
    presets = tmp_path / "presets" / "experiment"
    presets.mkdir(parents=True)
    for name, changes in PRESETS.items():
        defaults = "defaults:\n  - override /transfer: freeze_none\n" if name == "lost" else ""
        (presets / f"{name}.yaml").write_text(f"# @package _global_\n{defaults}{changes}\n")
    line = [
        "-m",
        "--config-dir",
        str(presets.parent),
        *SOURCE,
        "clips.dt=0.2",
        *SCENES,
        *(f"training.{value}" for value in TRAINING),
    ]
    code, output, errors = run("train", tmp_path / "outputs", *line, *SLURM, f"experiment={','.join(PRESETS)}")
    assert code == 1
    (fine, broken, lost, senseless) = (row(output, number) for number in range(4))
    assert [each[1] for each in (fine, broken, lost, senseless)] == ["done", "failed", "failed", "failed"], output
    assert "trainer.accelerator is 'gpu'" in broken[2]
    assert "what it needs was not made: pretraining" in lost[2] and "the loss is" in errors and "its log is" in errors
    assert "senseless" in senseless[0] and "1 of 4 jobs have nothing to make" in output
    assert "Traceback" not in errors and queue("%i") == []


def test_ctrl_c_asks_whether_to_cancel_and_the_same_line_goes_on_watching(cluster, tmp_path):
    """Its jobs are held in the queue until somebody lets them go."""
    held = ["-m", *SHAPES, *SLURM, "+hydra.launcher.additional_parameters={hold:true}"]
    line = [*held, "recording.seed=1,2", "sweep=held"]
    terminal, of_job = pty.openpty()
    job = start("simulate", tmp_path / "outputs", *line, stdin=of_job)
    until(lambda: len(queue("%i")) == 2, "the jobs")
    ledger = tmp_path / "outputs/sweeps/held/slurm_jobs.json"
    until(ledger.exists, "the ledger")
    job.send_signal(signal.SIGINT)
    os.write(terminal, b"n\n")
    output, errors = job.communicate(timeout=300)
    (ids,) = {id.split("_")[0] for (id,) in queue("%i")}
    assert job.returncode == 130 and f"cancel its jobs, queued or running ({ids})? [y/N]" in output, errors
    assert f"its jobs go on; the same line watches them again, and scancel {ids} ends them" in output
    assert [row(output, number)[1] for number in range(2)] == ["not started"] * 2 and len(queue("%i")) == 2

    written = ledger.stat().st_mtime_ns
    job = start("simulate", tmp_path / "outputs", *line, stdin=of_job)
    until(lambda: ledger.stat().st_mtime_ns > written, "the second start")
    slurm("scontrol", "release", ids)
    output, errors = job.communicate(timeout=300)
    assert job.returncode == 0, errors
    assert "0 jobs submitted, 0 for what they need; 2 were in the queue" in output
    assert [row(output, number)[1] for number in range(2)] == ["done"] * 2

    job = start("simulate", tmp_path / "outputs", *held, "recording.seed=3,4", "sweep=other", stdin=of_job)
    until(lambda: (tmp_path / "outputs/sweeps/other/slurm_jobs.json").exists(), "the ledger")
    job.send_signal(signal.SIGINT)
    os.write(terminal, b"y\n")
    output, errors = job.communicate(timeout=300)
    assert job.returncode == 130 and "its jobs are cancelled" in output, errors
    until(lambda: queue("%i") == [], "the end of the jobs")
