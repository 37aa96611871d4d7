"""Optical-flow training of RAFT, the target task."""

from dataclasses import dataclass

import pytorch_lightning as pl
from torch import Tensor

from rwtl.data.flow_sample import FlowSample
from rwtl.errors import InputError
from rwtl.models.raft import RAFT
from rwtl.training.metrics import FlowMetrics, sequence_loss
from rwtl.training.recipe import Recipe, adamw_one_cycle


@dataclass
class FlowRecipe(Recipe):
    """A recipe of optical-flow training.

    Args:
        iterations: recurrent iterations in training and validation.
        gamma: weight of an iteration relative to the next one in the loss.
    """

    iterations: int
    gamma: float

    def __post_init__(self):
        super().__post_init__()
        if self.iterations < 1:
            raise InputError(f"iterations is {self.iterations}; it must be at least 1")


class OpticalFlowModule(pl.LightningModule):
    """Trains RAFT on batches of FlowSample; logs `loss` and, at validation, `epe`, `1px`, `3px` and `5px`."""

    def __init__(self, model: RAFT, recipe: FlowRecipe):
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.validation_metrics = FlowMetrics()

    def training_step(self, batch: FlowSample, batch_idx: int) -> Tensor:
        flows = self.model(batch.image1, batch.image2)
        loss = sequence_loss(flows, batch.flow, batch.valid, self.recipe.gamma)
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: FlowSample, batch_idx: int) -> None:
        flows = self.model(batch.image1, batch.image2)
        self.validation_metrics.update(flows[-1], batch.flow, batch.valid)

    def on_validation_epoch_end(self) -> None:
        self.log_dict({name: value.float() for name, value in self.validation_metrics.compute().items()})
        self.validation_metrics.reset()

    def configure_optimizers(self) -> dict:
        return adamw_one_cycle(self.model.parameters(), self.recipe)
