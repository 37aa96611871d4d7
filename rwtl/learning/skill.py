"""How much better than its baselines a next-frame model predicts, in a table and in words.

All take frames I1 to In in 0..1 and return predictions of I3 to I(n + 1), each from the two frames before it.
"""

import math

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Float
from skimage.registration import optical_flow_tvl1
from torch import Tensor
from torch.utils.data import Dataset
from torchmetrics.functional.image import structural_similarity_index_measure

from rwtl.errors import InputError
from rwtl.learning.recipe import autocast
from rwtl.models.next_frame import NextFrameModel, warp

LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)
ADVECTIONS = 5


def copy_last(frames: Float[Tensor, "b n c h w"]) -> Float[Tensor, "b n-1 c h w"]:
    """The baseline I3 = I2."""
    return frames[:, 1:]


def extrapolate(frames: Float[Tensor, "b n c h w"]) -> Float[Tensor, "b n-1 c h w"]:
    """The baseline I3 = 2·I2 - I1, within 0..1 where frames live."""
    return (2 * frames[:, 1:] - frames[:, :-1]).clamp(0, 1)


@torch.no_grad()
def constant_motion(frames: Float[Tensor, "b n c h w"]) -> Float[Tensor, "b n-1 c h w"]:
    """The baseline that everything moves on as it did from I1 to I2: I3 is I2 carried on along dense flow.

    The flow from I2 to I1 is estimated on the luminance by TV-L1 (Zach, Pock & Bischof 2007; scikit-image's), on the
    CPU. On blobs and rings that move by 1 to 8 px a frame it is about as good as the best iterative Lucas-Kanade, and
    the only one that needs no window chosen to suit the speed; 3 warps a level serve as well as 5, in half the time.
    """
    pairs = frames.unfold(1, 2, 1).movedim(-1, 2).flatten(0, 1)  # (b·(n - 1), 2, c, h, w)
    of_channels = pairs.new_tensor(LUMINANCE if pairs.shape[2] == 3 else (1.0,))
    grey = torch.einsum("ptchw,c->pthw", pairs, of_channels).cpu().numpy()
    found = [optical_flow_tvl1(last, previous, num_warp=3)[::-1].copy() for previous, last in grey]
    flow = motion = torch.from_numpy(np.stack(found)).to(frames)  # (b·(n - 1), 2, h, w), x before y
    # Motion moves along with what moves: what is at x in I3 had the motion that I2 has where it came from.
    for _ in range(ADVECTIONS):
        flow = warp(motion, flow)
    return warp(pairs[:, 1], flow).unflatten(0, (len(frames), -1))


MODEL = "model"
BASELINES = {"copy": copy_last, "extrapolation": extrapolate, "constant_motion": constant_motion}
WORDS = {
    "copy": "copying I2",
    "extrapolation": "extrapolating 2·I2 - I1",
    "constant_motion": "constant motion",
}


@torch.no_grad()
def skill_table(
    model: NextFrameModel, clips: Dataset, device: torch.device, precision: str = "32-true"
) -> pd.DataFrame:
    """Return the errors of the model and of the baselines on frames 3 to n of the same clips.

    Args:
        model: put to `device` and in eval mode.
        clips: items (n, c, h, w) in 0..1, n >= 3.
        device: where the model predicts.
        precision: of the model, as `trainer.precision`.

    Returns:
        A row for the model and each of BASELINES, by the column `predictor`. `mse` is the mean over all pixels of all
        predicted frames; `psnr` (dB, data range 1) is that of this mean; `ssim` (data range 1) is the mean over
        frames; `skill` is 1 - MSE of the model / MSE of the predictor: above 0 the model is better. It is NaN for the
        model itself.

    Raises:
        InputError: There is no clip, or a clip has less than 3 frames.
    """
    if len(clips) == 0:
        raise InputError("there is no validation clip to measure skill on; widen clips.active or the recording")
    model.eval().to(device)
    sums = {name: np.zeros(3) for name in (MODEL, *BASELINES)}  # of squared errors, pixels, and frames' SSIM
    frames = 0
    for index in range(len(clips)):
        clip = clips[index][None].to(device)
        if clip.shape[1] < 3:
            raise InputError(f"clip {index} has {clip.shape[1]} frames; predicting the next frame takes 3 or more")
        given, target = clip[:, :-1], clip[:, 2:]
        with autocast(device, precision):
            predictions = {MODEL: model(given).float()}
        predictions |= {name: predict(given) for name, predict in BASELINES.items()}
        for name, predicted in predictions.items():
            squared = F.mse_loss(predicted, target, reduction="sum")
            similar = structural_similarity_index_measure(predicted[0], target[0], reduction="sum", data_range=1.0)
            sums[name] += (float(squared), target.numel(), float(similar))
        frames += target.shape[1]
    rows = [
        {"predictor": name, "mse": squared / pixels, "psnr": _decibels(squared / pixels), "ssim": similar / frames}
        for name, (squared, pixels, similar) in sums.items()
    ]
    table = pd.DataFrame(rows)
    with np.errstate(divide="ignore", invalid="ignore"):
        skill = 1 - table.mse[0] / table.mse.to_numpy()
    return table.assign(skill=np.where(table.predictor == MODEL, np.nan, skill))


def _decibels(mse: float) -> float:
    return math.inf if mse == 0 else -10 * math.log10(mse)


def verdict(table: pd.DataFrame) -> str:
    """Say in one sentence which baselines of a `skill_table` the model beats, and than which it is WORSE."""
    mse = table.set_index("predictor").mse
    groups = {"better than": [], "equal to": [], "WORSE than": []}
    for name in BASELINES:
        # An MSE that is no number is worse than any.
        word = "better than" if mse[MODEL] < mse[name] else "equal to" if mse[MODEL] == mse[name] else "WORSE than"
        groups[word].append(f"{WORDS[name]} ({mse[name]:.4g})")
    parts = [f"{word} {' and '.join(names)}" for word, names in groups.items() if names]
    return f"validation MSE of the next-frame model {mse[MODEL]:.4g}: {', '.join(parts)}"


def ratio_to_best(table: pd.DataFrame) -> float:
    """Return the model's MSE in units of its best baseline's: below 1 the model is better than all of them.

    Raises:
        InputError: A baseline is without error, so that there is nothing to predict.
    """
    mse = table.set_index("predictor").mse
    best = mse[list(BASELINES)].min()
    if best == 0:
        raise InputError(
            f"the baseline {mse[list(BASELINES)].idxmin()} is without error on the validation clips: they hold nothing "
            "to predict; use a recording with waves, a longer clips.dt, or raise clips.active"
        )
    return float(mse[MODEL] / best)
