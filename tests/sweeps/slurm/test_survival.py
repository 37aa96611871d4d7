"""Jobs that a real cluster interrupts go on to the same bits as ones that were left alone."""

import json
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from itertools import chain

import pytest
import torch
from sweeps import SLURM, SOURCE, end, queue, row, run, slurm, start, until

LINE = ["-m", *SOURCE, "clips.dt=0.2", "pretraining.steps=80", "trainer.checkpoint_minutes=0.001"]
SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What comes out where nothing interrupts."""
    outputs = tmp_path_factory.mktemp("undisturbed") / "outputs"
    code, _, errors = run("pretrain", outputs, *LINE, f"pretraining.seed={','.join(map(str, SEEDS))}")
    assert code == 0, errors
    return outputs


def pretrainings(outputs):
    """The folder of each pre-training by its seed."""
    found = {}
    for folder in chain(outputs.glob("unfinished/pretraining/*/*-*"), outputs.glob("pretraining/*")):
        with suppress(FileNotFoundError, ValueError):
            found[json.loads((folder / "status.json").read_text())["values"]["pretraining"]["seed"]] = folder
    return found


def same(outputs, undisturbed, seed):
    mine, other = (pretrainings(each)[seed] for each in (outputs, undisturbed))
    weights = [torch.load(folder / "model.pt", weights_only=True)["weights"] for folder in (mine, other)]
    equal = all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    return equal and (mine / "metrics.csv").read_text() == (other / "metrics.csv").read_text()


def begin(tmp_path, undisturbed, seeds, *overrides):
    """Start a sweep that finds its recording made; hold each of its trainings once it has saved something."""
    outputs = tmp_path / "outputs"
    shutil.copytree(undisturbed / "recording", outputs / "recording")
    job = start("pretrain", outputs, *LINE, *SLURM, f"pretraining.seed={','.join(map(str, seeds))}", *overrides)
    held = {}
    while len(held) < len(seeds):
        seed = until(lambda: next(iter(saved(outputs) - set(held)), None), "a checkpoint")
        held[seed] = status(outputs, seed)["pid"]
        os.kill(held[seed], signal.SIGSTOP)
    return outputs, job, held


def saved(outputs):
    return {seed for seed, folder in pretrainings(outputs).items() if (folder / "training.ckpt").exists()}


def status(outputs, seed):
    return json.loads((pretrainings(outputs)[seed] / "status.json").read_text())


def running():
    return {job for job, state in queue("%i", "%T") if state == "RUNNING"}


def release(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


@pytest.mark.slow
def test_preemption_a_lost_node_and_a_cancelled_job(cluster, undisturbed, tmp_path):
    resources = ["partition=low", "cpus_per_task=4"]  # a node for each
    outputs, job, held = begin(tmp_path, undisturbed, (1, 2, 3), *(f"hydra.launcher.{each}" for each in resources))
    of = {status(outputs, seed)["slurm_job"]: seed for seed in held}
    nodes = {of[raw]: (job_id, node) for raw, job_id, node in queue("%A", "%i", "%N") if raw in of}

    subprocess.run(["scancel", nodes[3][0]], check=True)
    slurm(
        "sbatch",
        "--partition=normal",
        f"--nodelist={nodes[1][1]}",
        "--cpus-per-task=4",
        "--output=/dev/null",
        "--wrap=sleep 3",
    )
    slurm("scontrol", "update", f"nodename={nodes[2][1]}", "state=down", "reason=test")
    try:
        until(lambda: not {job_id for job_id, _ in nodes.values()} & running(), "the end of what runs", every=0.5)
        for pid in held.values():
            release(pid)
        code, output, errors = end(job)
    finally:
        subprocess.run(["scontrol", "update", f"nodename={nodes[2][1]}", "state=resume"])  # unless it is back already
    assert code == 1, errors
    assert [row(output, number)[1] for number in range(3)] == ["done", "done", "interrupted"], output
    assert f"SLURM job {nodes[3][0]} was cancelled" in row(output, 2)[2]
    assert same(outputs, undisturbed, 1) and same(outputs, undisturbed, 2)
    for seed in (1, 2):
        (earlier,) = status(outputs, seed)["history"]
        assert earlier["slurm_job"] == status(outputs, seed)["slurm_job"], "the same SLURM job, which SLURM ran again"
    log = outputs.glob("slurm/*/*.out")
    assert sum("goes on after step" in file.read_text() for file in log) == 2

    line = [*LINE, *SLURM, "pretraining.seed=1,2,3", *(f"hydra.launcher.{each}" for each in resources)]
    code, output, errors = run("pretrain", outputs, *line)
    assert code == 0 and [row(output, number)[1] for number in range(3)] == ["reused", "reused", "done"], errors
    assert "1 SLURM jobs submitted" in errors and same(outputs, undisturbed, 3)


@pytest.mark.slow
def test_a_time_limit_queues_a_job_again(cluster, undisturbed, tmp_path):
    """Its end is set to come soon once it has saved something, however slow the machine; SLURM looks every 30 s."""
    limits = ["timeout_min=10", "signal_delay_s=60", "max_num_timeout=3"]
    outputs, job, _ = begin(tmp_path, undisturbed, (1,), *(f"hydra.launcher.{each}" for each in limits))
    (number,) = running()
    slurm("scontrol", "update", f"jobid={number}", "endtime=now+60")
    until(lambda: not running(), "SLURM's warning", every=0.5)  # with which it lets go of a job that is held
    slurm("scontrol", "update", f"jobid={number}", "timelimit=10")  # of its second start
    code, output, errors = end(job)
    assert code == 0 and row(output, 0)[1] == "done", errors
    assert same(outputs, undisturbed, 1)
    (earlier,) = status(outputs, 1)["history"]
    assert earlier["state"] == "interrupted" and earlier["slurm_job"] == status(outputs, 1)["slurm_job"]
    (log,) = (file.read_text() for file in outputs.glob("slurm/*/*.out"))
    assert "SIGUSR2: saves, then ends" in log and "goes on after step" in log
