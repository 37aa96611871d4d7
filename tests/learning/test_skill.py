import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import Subset

from rwtl.errors import InputError
from rwtl.learning.skill import BASELINES, constant_motion, copy_last, extrapolate, ratio_to_best, skill_table, verdict
from rwtl.models.next_frame import build_next_frame

CPU = torch.device("cpu")


def moving_blobs(speed: float, frames: int = 3, size: int = 64, seed: int = 0) -> torch.Tensor:
    """Discs with soft edges, (frames, 1, size, size), each moving its own way by `speed` px a frame."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    clip = np.zeros((frames, size, size))
    for centre in ((18, 18), (46, 20), (30, 46)):
        angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(7, 10)
        for t in range(frames):
            distance = np.hypot(
                x - centre[0] - t * speed * math.cos(angle), y - centre[1] - t * speed * math.sin(angle)
            )
            clip[t] = np.maximum(clip[t], 1 / (1 + np.exp(distance - radius)))
    return torch.from_numpy(clip).float()[:, None]


def copying_model(colour="grey"):
    """A model that predicts no motion and no correction."""
    torch.manual_seed(0)
    model = build_next_frame("small", "instance", 1, colour=colour)
    torch.nn.init.zeros_(model.update_block.flow_head.conv2.weight)
    torch.nn.init.zeros_(model.update_block.flow_head.conv2.bias)
    return model


def dataset(clips: list[torch.Tensor]) -> Subset:
    return Subset(clips, range(len(clips)))


def table_of(**mse) -> pd.DataFrame:
    return pd.DataFrame({"predictor": list(mse), "mse": list(mse.values())})


@pytest.mark.parametrize("speed", [1.0, 2.0, 4.0, 8.0])
def test_constant_motion_carries_blobs_on(speed):
    clips = torch.stack([moving_blobs(speed, seed=seed) for seed in range(2)])
    target = clips[:, 2:]
    errors = {name: (predict(clips[:, :-1]) - target).square().mean() for name, predict in BASELINES.items()}
    assert errors["constant_motion"] < 0.25 * min(errors["copy"], errors["extrapolation"])


def test_constant_motion_takes_the_two_frames_before_each_prediction_and_any_channels():
    clip = moving_blobs(3.0, frames=5)[None]
    predicted = constant_motion(clip[:, :-1])
    assert predicted.shape == (1, 3, 1, 64, 64)
    for step in range(3):
        assert torch.equal(predicted[:, step : step + 1], constant_motion(clip[:, step : step + 2]))
    colours = torch.tensor([1.0, 0.5, 0.2]).reshape(3, 1, 1)
    of_colours = constant_motion(clip[:, :3] * colours)
    assert of_colours.shape == (1, 2, 3, 64, 64)
    assert (of_colours - clip[:, 2:4] * colours).square().mean() < 0.25 * (clip[:, 1] - clip[:, 2]).square().mean()


def test_the_table_has_the_errors_of_all_predictors_on_the_same_frames():
    clips = [moving_blobs(3.0, frames=4, seed=seed) for seed in range(2)]
    table = skill_table(copying_model(), dataset(clips), CPU).set_index("predictor")
    assert list(table.index) == ["model", "copy", "extrapolation", "constant_motion"]
    batch = torch.stack(clips)
    copied = (copy_last(batch[:, :-1]) - batch[:, 2:]).square().mean()
    extrapolated = (extrapolate(batch[:, :-1]) - batch[:, 2:]).square().mean()
    assert table.mse["copy"] == pytest.approx(float(copied))
    assert table.psnr["copy"] == pytest.approx(-10 * math.log10(copied), rel=1e-5)
    assert table.skill["extrapolation"] == pytest.approx(float(1 - copied / extrapolated), abs=1e-4)
    # A model that copies has copying's errors: skill 0.
    assert table.loc["model", ["mse", "psnr", "ssim"]].tolist() == pytest.approx(
        table.loc["copy", ["mse", "psnr", "ssim"]].tolist(), rel=1e-4
    )
    assert table.skill["copy"] == pytest.approx(0, abs=1e-4) and math.isnan(table.skill["model"])
    assert table.skill["constant_motion"] < 0 and 0 < table.ssim["copy"] < table.ssim["constant_motion"] < 1
    assert ratio_to_best(table.reset_index()) == pytest.approx(table.mse["model"] / table.mse["constant_motion"])


def test_still_clips_have_no_error_and_no_ratio():
    still = dataset([torch.rand(1, 3, 16, 16).expand(3, 3, 16, 16)])
    model = copying_model("rgb")
    torch.nn.init.constant_(model.decoder.conv2.bias, 0.1)
    table = skill_table(model, still, CPU, "bf16-mixed").set_index("predictor")
    assert table.mse["model"] == pytest.approx(0.01, rel=0.05)
    assert table.mse["copy"] == 0 and table.psnr["copy"] == math.inf
    assert table.ssim["copy"] == pytest.approx(1) and table.skill["copy"] == -math.inf
    with pytest.raises(InputError, match="they hold nothing to predict"):
        ratio_to_best(table.reset_index())


def test_clips_that_cannot_be_measured_are_refused():
    with pytest.raises(InputError, match="clip 0 has 2 frames"):
        skill_table(copying_model(), dataset([torch.rand(2, 1, 16, 16)]), CPU)
    with pytest.raises(InputError, match="no validation clip"):
        skill_table(copying_model(), dataset([]), CPU)


def test_the_verdict_says_plainly_where_the_model_is_worse():
    said = verdict(table_of(model=0.02, copy=0.04, extrapolation=0.03, constant_motion=0.01))
    assert said == (
        "validation MSE of the next-frame model 0.02: better than copying I2 (0.04) and extrapolating 2·I2 - I1 (0.03),"
        " WORSE than constant motion (0.01)"
    )
    assert "equal to copying I2" in verdict(table_of(model=0.04, copy=0.04, extrapolation=0.03, constant_motion=0.01))
    unsure = verdict(table_of(model=math.nan, copy=0.04, extrapolation=0.03, constant_motion=0.01))
    assert unsure.startswith("validation MSE of the next-frame model nan: WORSE than copying I2 (0.04) and")
