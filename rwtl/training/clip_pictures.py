"""Pictures of the frames that a model predicts while it trains."""

from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from PIL import Image
from torch import Tensor

from rwtl.training.tracker import log_picture

WAVES = colormaps["coolwarm"]  # blue is low, red is high
ERRORS = colormaps["RdBu_r"]
SMALLEST = 96  # px, of a frame in the picture; smaller ones are enlarged
GAP = 2  # px, between frames


def clip_picture(
    clip: Float[np.ndarray, "n c h w"], predicted: Float[np.ndarray, "n_minus_2 c h w"]
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Return a clip, below I3 to In their predictions, and below those their errors, from -0.5 (blue) to 0.5 (red).

    Args:
        clip: I1 to In, in 0..1: normalised calcium (c 1) or RGB (c 3).
        predicted: of I3 to In.
    """
    empty = np.full((2, *clip.shape[2:], 3), 255, dtype=np.uint8)
    errors = (255 * ERRORS((predicted - clip[2:]).mean(axis=1) + 0.5)[..., :3]).round().astype(np.uint8)
    rows = (_rgb(clip), np.concatenate((empty, _rgb(predicted))), np.concatenate((empty, errors)))
    times = -(-SMALLEST // min(clip.shape[2:]))
    border = ((0, GAP), (0, GAP), (0, 0))
    framed = [
        [np.pad(frame.repeat(times, 0).repeat(times, 1), border, constant_values=255) for frame in row] for row in rows
    ]
    return np.concatenate([np.concatenate(row, axis=1) for row in framed])


def _rgb(frames: Float[np.ndarray, "n c h w"]) -> UInt8[np.ndarray, "n h w 3"]:
    coloured = WAVES(frames[:, 0])[..., :3] if frames.shape[1] == 1 else frames.transpose(0, 2, 3, 1)
    return (255 * coloured.clip(0, 1)).round().astype(np.uint8)


class ClipPictures(pl.Callback):
    """Saves a picture of the first validation clip and its predictions at every validation, and logs it.

    Args:
        folder: where `step_<step>.png` goes.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: None,
        batch: Float[Tensor, "b n c h w"],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx or not trainer.is_global_zero:
            return
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            predicted = module.model(batch[:1, :-1])
        picture = clip_picture(batch[0].float().cpu().numpy(), predicted[0].float().cpu().numpy())
        self.folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(self.folder / f"step_{trainer.global_step:06d}.png")
        log_picture(trainer.loggers, "prediction", picture, trainer.global_step)
