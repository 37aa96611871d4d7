"""Command lines of a study so small that it runs in seconds."""

import sys
from pathlib import Path

import forked

ROOT = Path(__file__).parents[1]
WAVES = ["recording.rows=24", "recording.columns=24", "recording.duration=6", "recording.transient=1"]
CLIPS = ["clips.dt=0.5", "clips.active=[0,1]", "clips.gap=0.5", "clips.crop=16", "trainer.threads=1"]
PRETRAINING = ["steps=4", "validate_every=2", "batch_size=2", "validation_clips=4", "iterations=1"]
TRAINING = ["steps=4", "validate_every=2", "batch_size=2", "iterations=2", "validation_iterations=2"]
SCENES = ["height=32", "width=32", "mean_displacement=2"]
TINY_SOURCE = WAVES + CLIPS + [f"pretraining.{value}" for value in PRETRAINING]
TINY_TRAINING = [
    *TINY_SOURCE,
    *(f"training.{value}" for value in TRAINING),
    *(f"datasets.procedural_training.{value}" for value in [*SCENES, "size=20"]),
    "datasets.procedural_validation.size=2",
]
TINY_EVALUATION = [*TINY_TRAINING, "datasets.procedural_test.size=4"]


def command(app, outputs, *overrides):
    """The words of a command line, as a shell would get them."""
    return [sys.executable, *_words(app, outputs, overrides)]


def start(app, outputs, *overrides, cwd=ROOT, **where):
    """Start an app in a process of its own (see forked.py)."""
    return forked.Program(_words(app, outputs, overrides), cwd=cwd, **where)


def run(app, outputs, *overrides, cwd=ROOT, **where):
    """Run an app in a process of its own; return its exit code and what it printed."""
    return forked.run(_words(app, outputs, overrides), cwd=cwd, **where)


def _words(app, outputs, overrides):
    return [str(ROOT / "experiments" / f"{app}.py"), *overrides, f"paths.outputs={outputs}"]
