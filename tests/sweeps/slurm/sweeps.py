"""Sweeps on the cluster as a user starts them, at a tiny scale."""

import os
import re
import subprocess
import time

from tiny import start

SHAPES = ["recording=moving_shapes", "recording.rows=24", "recording.columns=24", "recording.duration=8"]
CLIPS = ["clips.active=[0,1]", "clips.gap=0.5", "clips.crop=16", "trainer.threads=1"]
PRETRAINING = ["validate_every=20", "batch_size=2", "validation_clips=2", "iterations=1"]
SOURCE = [*SHAPES, *CLIPS, *(f"pretraining.{value}" for value in PRETRAINING)]
TRAINING = ["steps=1", "validate_every=1", "batch_size=1", "iterations=1", "validation_iterations=1"]
SCENES = [
    *(f"datasets.procedural_training.{value}" for value in ("height=32", "width=32", "mean_displacement=2", "size=4")),
    "datasets.procedural_validation.size=2",
]
SLURM = ["hydra/launcher=slurm", *(f"hydra.launcher.{value}" for value in ("cpus_per_task=1", "mem_gb=1", "poll=1"))]
WAIT = 150.0  # s, at most, for what takes a few


def end(job):
    """Wait for a program; return its exit code, output and errors."""
    output, errors = job.communicate(timeout=2 * WAIT)
    return job.returncode, output, errors


def run(app, outputs, *overrides, **how):
    return end(start(app, outputs, *overrides, **how))


def row(table, number):
    """The cells of a job in a table on the terminal, but for what is folded into further lines."""
    (cells,) = re.findall(rf"^│ +{number} │(.*)│$", table, re.MULTILINE)
    return [cell.strip() for cell in cells.split("│")]


def slurm(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=WAIT).stdout


def queue(*fields):
    """What squeue says of all jobs: a tuple of fields for each."""
    lines = slurm("squeue", "--noheader", "--array", f"--format={'|'.join(fields)}").splitlines()
    return [tuple(line.split("|")) for line in lines]


def until(condition, what, every=0.05):
    """Return the first true value of a function that is called every so many seconds."""
    last = time.monotonic() + WAIT
    while not (value := condition()):
        assert time.monotonic() < last, f"{what} did not come"
        time.sleep(every)
    return value


def environment(**changes):
    return {**os.environ, **changes}
