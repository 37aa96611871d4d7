"""Next-frame prediction on clips of waves, the source task."""

from dataclasses import dataclass

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torchmetrics import MeanMetric

from rwtl.errors import InputError
from rwtl.models.next_frame import NextFrameModel
from rwtl.training.recipe import Recipe, adamw_one_cycle

METRICS = ("mse", "mse_copy", "mse_extrapolation")


@dataclass
class PretrainingRecipe(Recipe):
    """A recipe of next-frame prediction.

    Args:
        iterations: recurrent iterations of the next-frame model.
        validation_clips: at most so many clips, evenly spread over the validation part.
        seed: decides the initial weights, the order of clips and their augmentation.
    """

    iterations: int
    validation_clips: int
    seed: int

    def __post_init__(self):
        super().__post_init__()
        for key in ("iterations", "validation_clips"):
            if getattr(self, key) < 1:
                raise InputError(f"{key} is {getattr(self, key)}; it must be at least 1")


def copy_last(frame1: Float[Tensor, "b 1 h w"], frame2: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """The baseline I3 = I2."""
    return frame2


def extrapolate(frame1: Float[Tensor, "b 1 h w"], frame2: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """The baseline I3 = 2·I2 - I1, within 0..1 where frames live."""
    return (2 * frame2 - frame1).clamp(0, 1)


class NextFrameModule(pl.LightningModule):
    """Trains the next-frame model on clips (b, 3, 1, h, w) by mean squared error.

    Logs `loss` and, at validation, `mse` beside the baselines `mse_copy` and `mse_extrapolation` on the same clips.
    """

    def __init__(self, model: NextFrameModel, recipe: PretrainingRecipe):
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.predictors = dict(zip(METRICS, (model, copy_last, extrapolate), strict=True))
        self.validation_metrics = torch.nn.ModuleDict({name: MeanMetric() for name in METRICS})

    def training_step(self, clips: Float[Tensor, "b 3 1 h w"], batch_idx: int) -> Tensor:
        predicted = self.model(clips[:, 0], clips[:, 1])
        loss = F.mse_loss(predicted, clips[:, 2])
        self.log("loss", loss)
        return loss

    def validation_step(self, clips: Float[Tensor, "b 3 1 h w"], batch_idx: int) -> None:
        for name, predict in self.predictors.items():
            error = F.mse_loss(predict(clips[:, 0], clips[:, 1]), clips[:, 2])
            self.validation_metrics[name].update(error, weight=len(clips))

    def on_validation_epoch_end(self) -> None:
        for name, metric in self.validation_metrics.items():
            self.log(name, metric.compute())
            metric.reset()

    def configure_optimizers(self) -> dict:
        return adamw_one_cycle(self.model.parameters(), self.recipe)
