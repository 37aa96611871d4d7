"""A recording in an artifact's folder is the whole one of its configuration, or is not reused."""

import shutil

import pytest
from test_recording import CONFIG, CountingEngine, interrupted

import rwtl
from rwtl.errors import InputError
from rwtl.pipeline.recording import _require_own
from rwtl.waves import simulate

SHAPES = ["recording=moving_shapes", "recording.rows=12", "recording.columns=12", "recording.duration=8"]


def test_a_recording_of_another_artifact_is_not_reused(tmp_path):
    one, two = (
        rwtl.build(rwtl.recording(rwtl.compose("simulate", *SHAPES, f"recording.seed={seed}", outputs=tmp_path)))
        for seed in (1, 2)
    )
    assert rwtl.build(one).reused and one.open().shape == (12, 12)
    shutil.rmtree(one.path / "recording")
    shutil.copytree(two.path / "recording", one.path / "recording")
    with pytest.raises(InputError, match=rf"{one.path}/recording is of another configuration, .*: remove {one.path}"):
        rwtl.build(one)


def test_an_unfinished_recording_is_not_reused_as_a_whole_one(tmp_path):
    simulate(CONFIG, CountingEngine(), tmp_path / "whole")
    _require_own(tmp_path / "whole", CONFIG)
    interrupted(tmp_path / "part", 80)
    with pytest.raises(InputError, match="part is unfinished, 64 frames, and its artifact is complete: remove"):
        _require_own(tmp_path / "part", CONFIG)
