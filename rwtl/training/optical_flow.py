"""Optical-flow training of RAFT, the target task."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytorch_lightning as pl
from torch import Tensor, nn
from torch.utils.data import Dataset

from rwtl.data.flow_sample import FlowSample
from rwtl.errors import InputError
from rwtl.models.encoder import batch_norms
from rwtl.models.padding import padding_of
from rwtl.models.raft import RAFT
from rwtl.training.metrics import METRICS, FlowMetrics, sequence_loss
from rwtl.training.recipe import Recipe, adamw_one_cycle
from rwtl.training.transfer import Transfer


@dataclass
class FlowRecipe(Recipe):
    """A recipe of optical-flow training.

    Args:
        iterations: recurrent iterations in training.
        validation_iterations: recurrent iterations in validation.
        gamma: weight of an iteration relative to the next one in the loss.
        freeze_batchnorm_statistics: whether every BatchNorm layer of RAFT uses and keeps its running statistics, as in
            all official schedules but `chairs`; its weights are trained on.
    """

    iterations: int
    validation_iterations: int
    gamma: float
    freeze_batchnorm_statistics: bool

    def __post_init__(self):
        super().__post_init__()
        for key in ("iterations", "validation_iterations"):
            if getattr(self, key) < 1:
                raise InputError(f"{key} is {getattr(self, key)}; it must be at least 1")
        if not 0 < self.gamma <= 1:
            raise InputError(f"gamma is {self.gamma}; it must be above 0 and at most 1")


class OpticalFlowModule(pl.LightningModule):
    """Trains RAFT on batches of FlowSample; logs `loss` and, at validation, METRICS for every data set.

    Args:
        model: RAFT; trained in place.
        recipe: how.
        validation: data sets by name; the metrics of the first are logged by their own names (`epe`), those of the
            others with the data set's name before them (`sintel_final/epe`).
        transfer: what was loaded into RAFT and is held frozen.
    """

    def __init__(
        self, model: RAFT, recipe: FlowRecipe, validation: Mapping[str, Dataset], transfer: Transfer | None = None
    ):
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.transfer = transfer
        self.paddings = [padding_of(dataset) for dataset in validation.values()]
        self.prefixes = ["", *(f"{name}/" for name in list(validation)[1:])]
        self.validation_metrics = nn.ModuleList(FlowMetrics() for _ in validation)

    @property
    def metrics(self) -> list[str]:
        """The names of everything that a validation logs."""
        return [prefix + metric for prefix in self.prefixes for metric in METRICS]

    def on_train_batch_start(self, batch: FlowSample, batch_idx: int) -> None:
        if self.recipe.freeze_batchnorm_statistics:  # Lightning puts all modules in train mode after every validation
            for layer in batch_norms(self.model).values():
                layer.eval()

    def training_step(self, batch: FlowSample, batch_idx: int) -> Tensor:
        flows = self.model(batch.image1, batch.image2)
        loss = sequence_loss(flows, batch.flow, batch.valid, self.recipe.gamma)
        self.log("loss", loss, logger=False, sync_dist=True)
        return loss

    def validation_step(self, batch: FlowSample, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        flow = self.model.estimate(
            batch.image1,
            batch.image2,
            self.recipe.validation_iterations,
            padding=self.paddings[dataloader_idx],
        ).flow
        self.validation_metrics[dataloader_idx].update(flow, batch.flow, batch.valid)
        return flow

    def on_validation_epoch_end(self) -> None:
        for prefix, metrics in zip(self.prefixes, self.validation_metrics, strict=True):
            found = metrics.compute()
            self.log_dict({prefix + metric: found[metric].float() for metric in METRICS}, logger=False)
            metrics.reset()

    def configure_callbacks(self) -> list[pl.Callback]:
        return [self.transfer] if self.transfer else []  # in place of one that the trainer may have been given

    def configure_optimizers(self) -> dict:
        return adamw_one_cycle(self.model, self.recipe, self.transfer)
