"""A source task of one's own: does a clip of waves run forwards or backwards?"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric

import rwtl
from rwtl.clips.transforms import to_rgb


@rwtl.register_task("arrow_of_time")
class ArrowOfTime(rwtl.Task):
    def __init__(self, model, recipe, colour, transfer):
        super().__init__(model, recipe, transfer, metrics=["cross_entropy"])
        self.colour = colour
        self.head = nn.Conv3d(model.feature_encoder.out_channels, 1, (2, 3, 3), padding=(0, 1, 1))
        self.validation_metrics = nn.ModuleDict({"cross_entropy": MeanMetric()})

    def loss(self, clips: Tensor) -> Tensor:
        """Of clips (b, n, c, h, w) in 0..1, each as it is and backwards."""
        both = to_rgb(torch.cat([clips, clips.flip(1)]), self.colour)
        features = self.model.feature_encoder(2 * both.flatten(0, 1) - 1).unflatten(0, both.shape[:2])
        logits = self.head(features.transpose(1, 2)).mean(dim=(1, 2, 3, 4))
        return F.binary_cross_entropy_with_logits(logits, (torch.arange(len(both)) < len(clips)).to(logits))

    def validation_step(self, clips: Tensor, batch_idx: int) -> None:
        self.validation_metrics["cross_entropy"].update(self.loss(clips))
