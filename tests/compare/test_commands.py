"""The command that makes a run again asks for the very same artifacts."""

import shlex
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hydra import compose, initialize_config_dir

from rwtl.compare.commands import command_of, digest_by, overrides_of
from rwtl.compare.runs import ComparedRun
from rwtl.config import resolved_yaml
from rwtl.pipeline.planning import planned

CONF = Path(__file__).parents[2] / "conf"


def run_by(overrides, app="evaluate"):
    """A run as an artifact tells of it: by its resolved configuration, and its digest."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(app, overrides=list(overrides))
        digest = [step.digest for step in planned("train", cfg) if step.kind == "training"][-1]
    config = yaml.safe_load(resolved_yaml(cfg))
    return ComparedRun(f"training-{digest}", config, pd.DataFrame({"step": [0], "epe": [1.0]}))


LINES = {
    "nothing": [],
    "a strategy": ["transfer=freeze_encoder", "clips.dt=2"],
    "another source": ["transfer=freeze_none", "clips=scenes", "clips.crop=48"],
    "another task": ["transfer=freeze_none", "pretraining=wave_flow", "pretraining.steps=50"],
    "another regime": ["transfer=freeze_none", "recording=spirals", "recording.spread.g_A=0.01"],
    "shapes": ["transfer=freeze_none", "recording=moving_shapes", "recording.seed=4"],
    "several recordings": ["transfer=freeze_none", "clips.recordings=[{},{seed:1},{cell:{sigma:5}}]"],
    "a key of its own": ["transfer=freeze_none", "+recording.spread.V_L=0.5"],
    "a list and a text": ["datasets.procedural_training.textures=[dots,marble]", "training.steps=80"],
    "a percentage": ["flow_data.fraction=0.25", "flow_data.subset_seed=3", "trainer.precision=bf16-mixed"],
    "another model": [
        "model=basic",
        "model.feature_norm=none",
        "transfer=both_encoders",
        "pretraining.context=context_encoder",
    ],
    "a changed strategy": ["transfer=freeze_encoder", "transfer.unfreeze_at=50"],
    "an experiment": [
        "+recording.spread.tau_R=0.1",
        "transfer=unfreeze_gradually",
        "clips.percentiles=[1,99]",
        "clips.calcium_range=null",
    ],
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_the_overrides_ask_for_the_same_training(line):
    run = run_by([*line, "seed=3"])
    assert f"training-{digest_by(overrides_of(run), 3)}" == run.id
    assert f"training-{digest_by(overrides_of(run), 4)}" != run.id


def test_a_comparison_names_transfers_by_its_rows_and_the_command_by_their_presets():
    run = run_by(["transfer=freeze_batchnorm", "transfer.name='waves · dt 3'"])
    assert "transfer=freeze_batchnorm" in overrides_of(run)
    assert f"training-{digest_by(overrides_of(run), 1)}" == run.id


def test_seeds_of_a_condition_are_one_command():
    runs = [run_by(["transfer=freeze_none", f"seed={seed}"]) for seed in (1, 2)]
    assert command_of(runs) == "python experiments/evaluate.py -m transfer=freeze_none seed=1,2"
    followed = [run_by(["transfer=freeze_none", f"seed={seed}", f"pretraining.seed={seed}"]) for seed in (5, 6)]
    words = shlex.split(command_of(followed))
    assert "pretraining.seed=${seed}" in words and not any("pretraining.seed=5" in word for word in words)
    assert words[:3] == ["python", "experiments/evaluate.py", "-m"] and words[-1] == "seed=5,6"
    assert f"training-{digest_by(words[3:-1], 6)}" == followed[1].id
