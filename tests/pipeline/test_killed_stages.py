"""Trainings that are killed at random moments, as whole programs, end with the bits of ones that were left alone."""

import os
import random
import re
import signal
import time

import pytest
import tiny
import torch

SIGNALS = {"pretrain": [signal.SIGKILL, signal.SIGTERM], "train": [signal.SIGKILL, signal.SIGINT]}
CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
WAVES = ["recording=moving_shapes", "recording.rows=32", "recording.columns=32", "recording.duration=30"]
CLIPS = ["clips.active=[0,1]", "clips.gap=0.5", "clips.crop=32", "pretraining.active_weight=0"]
SCENES = [f"datasets.procedural_training.{value}" for value in ("height=32", "width=32", "mean_displacement=2")]
STEPS = {"pretraining": ["steps=90", "validate_every=30", "batch_size=2", "validation_clips=2", "iterations=1"]}
STEPS["training"] = ["steps=90", "validate_every=30", "batch_size=2", "iterations=1", "validation_iterations=1"]
APPS = {
    "pretrain": ("pretraining", [*WAVES, *CLIPS, *(f"pretraining.{value}" for value in STEPS["pretraining"])]),
    "train": (
        "training",
        [*SCENES, "datasets.procedural_validation.size=2", *(f"training.{value}" for value in STEPS["training"])],
    ),
}


def start(app, outputs):
    return tiny.start(app, outputs, *APPS[app][1], "trainer.threads=1", "trainer.checkpoint_minutes=0.001")


def finished(app, outputs):
    job = start(app, outputs)
    _, errors = job.communicate()
    assert job.returncode == 0, errors
    (folder,) = (outputs / APPS[app][0]).iterdir()
    weights = torch.load(folder / "model.pt", weights_only=True)["weights"]
    texts = {name: (folder / name).read_text() for name in ("curve.csv", "metrics.csv")}
    assert not (folder / "training.ckpt").exists() and not list(outputs.glob("unfinished/*/*"))
    return weights, texts, errors


@pytest.mark.slow
@pytest.mark.parametrize("app", APPS)
def test_killed_again_and_again_it_ends_with_the_same_bits(app, tmp_path):
    weights, texts, _ = finished(app, tmp_path / "undisturbed")
    outputs, rng, steps = tmp_path / "outputs", random.Random(os.urandom(8)), []
    for how in SIGNALS[app]:
        job = start(app, outputs)
        checkpoint = time.time()
        while job.poll() is None:
            file = next(outputs.glob(f"unfinished/{APPS[app][0]}/*/*/training.ckpt"), None)
            if file is not None and file.stat().st_mtime > checkpoint:
                break
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.2))
        job.send_signal(how)
        printed, errors = job.communicate()
        assert job.returncode == CODES[how], printed + errors
        assert how is signal.SIGKILL or "the same line goes on from there" in errors.splitlines()[-1]
        steps += map(int, re.findall(r"goes on after step (\d+) of 90", errors))
    again, texts_again, errors = finished(app, outputs)
    assert app == "train" or "recording of moving shapes: reused" in errors
    steps += map(int, re.findall(r"goes on after step (\d+) of 90", errors))
    assert len(steps) == 2 and steps == sorted(steps) and 0 < steps[0] < steps[-1]
    print("went on after steps", steps)
    assert texts_again == texts
    assert weights.keys() == again.keys() and all(torch.equal(weights[name], again[name]) for name in weights)
