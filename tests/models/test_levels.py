"""Levels of the correlation pyramid: fewer for small frames, in every place that makes or reads a model."""

import pytest
import torch
from tiny import TINY, run

from rwtl.errors import InputError
from rwtl.models.checkpoints import load_raft, recognise, save_model, save_official
from rwtl.models.next_frame import build_next_frame
from rwtl.models.parts import ModelConfig
from rwtl.models.raft import build_raft


@pytest.mark.parametrize("correlation", ["all_pairs", "on_demand"])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_fewer_levels_are_fewer_channels_and_the_same_file_format(tmp_path, levels, correlation):
    arguments = {"variant": "small", "feature_norm": "instance", "levels": levels, "iterations": 2}
    model = build_raft(**arguments, correlation=correlation)
    assert model.correlation.out_channels == 49 * levels == model.update_block.motion_encoder.convc1.in_channels
    save_model(tmp_path / "raft.pt", "raft", arguments, model)
    info = recognise(tmp_path / "raft.pt")
    assert info.levels == levels and f"RAFT small, {levels} levels, " in str(info)
    loaded = load_raft(tmp_path / "raft.pt", correlation="all_pairs")
    images = 255 * torch.rand(2, 1, 3, 48, 64)
    torch.testing.assert_close(loaded.estimate(*images).flow, model.eval().estimate(*images).flow)
    with pytest.raises(InputError, match=f"the official correlation has 4 levels and this model's has {levels}"):
        save_official(tmp_path / "official.pth", model)
    frames = torch.rand(1, 2, 1, 32, 32)
    assert build_next_frame("small", "batch", 1, levels=levels)(frames).shape == (1, 1, 1, 32, 32)


def test_four_levels_are_what_they_were():
    assert ModelConfig("small", "batch").identity() == {"variant": "small", "feature_norm": "batch"}
    assert ModelConfig("small", "batch", 2).identity()["levels"] == 2
    for wrong in (0, 5, 2.5):
        with pytest.raises(InputError, match=r"model\.levels is "):
            ModelConfig("small", "batch", wrong)


def test_a_training_with_fewer_levels_goes_through_and_is_another_one(tmp_path):
    line = [TINY, "model.levels=1", "transfer=freeze_encoder"]
    done = run("train", tmp_path, *line)
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "training").glob("*/model.pt")
    assert recognise(file).levels == 1
    done = run("train", tmp_path, TINY, "transfer=scratch", f"start_from={file}")
    assert done.returncode == 1 and "model.levels=1" in done.stderr
    done = run("train", tmp_path, TINY, "transfer=scratch", "model.levels=1", f"start_from={file}")
    assert done.returncode == 0, done.stderr
