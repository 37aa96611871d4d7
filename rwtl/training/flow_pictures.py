"""Pictures of what RAFT estimates while it trains."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from jaxtyping import Float32, UInt8
from PIL import Image
from torch import Tensor

from rwtl.data.flow_colour import flow_to_colour
from rwtl.data.flow_sample import FlowSample
from rwtl.training.tracker import log_picture


def flow_picture(
    image: Float32[np.ndarray, "3 h w"],
    flow: Float32[np.ndarray, "2 h w"],
    valid: Float32[np.ndarray, "h w"],
    estimated: Float32[np.ndarray, "2 h w"],
) -> UInt8[np.ndarray, "h four_w 3"]:
    """Return, from left to right: first frame, true flow, estimated flow, and its end-point error.

    Both flows have the same scale, full colour being the longest true displacement; the error is white from as much on,
    and black where it is zero or the flow is not known.
    """
    known = valid >= 0.5
    longest = max(float(np.hypot(*flow)[known].max(initial=0.0)), 1.0)
    truth = np.where(known, flow, np.float32(np.inf))
    error = np.where(known, np.hypot(*(estimated - np.where(known, flow, 0))) / longest, 0)
    grey = np.repeat((255 * np.clip(error, 0, 1)).astype(np.uint8)[..., None], 3, axis=2)
    panels = (
        image.transpose(1, 2, 0).clip(0, 255).astype(np.uint8),
        *(flow_to_colour(f, longest) for f in (truth, estimated)),
    )
    return np.concatenate((*panels, grey), axis=1)


class FlowPictures(pl.Callback):
    """Saves a picture of the first pair of every validation data set at every validation, and logs it.

    Args:
        folder: where `<data set>/step_<step>.png` goes.
        names: of the data sets.
    """

    def __init__(self, folder: Path, names: Sequence[str]):
        self.folder = folder
        self.names = list(names)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Tensor,
        batch: FlowSample,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx or not trainer.is_global_zero:
            return
        panels = (batch.image1[0], batch.flow[0], batch.valid[0], outputs[0].float())
        folder = self.folder / self.names[dataloader_idx]
        folder.mkdir(parents=True, exist_ok=True)
        picture = flow_picture(*(panel.cpu().numpy() for panel in panels))
        Image.fromarray(picture).save(folder / f"step_{trainer.global_step:06d}.png")
        log_picture(trainer.loggers, f"{self.names[dataloader_idx]}/flow", picture, trainer.global_step)
