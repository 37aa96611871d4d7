"""Optical flow learnt from frames alone, without its truth: a source task on waves."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics import MeanMetric

from rwtl.data.colour import Colour, to_rgb
from rwtl.errors import InputError
from rwtl.models.next_frame_decoders import warp
from rwtl.models.raft import RAFT
from rwtl.training.photometric_loss import (
    census,
    census_difference,
    mean_where,
    occluded,
    photometric_difference,
    smoothness,
)
from rwtl.training.recipe import Recipe, adamw_one_cycle
from rwtl.training.transfer import Transfer

METRICS = (
    "photometric",
    "photometric_no_motion",
    "photometric_all",
    "photometric_all_no_motion",
    "occluded",
)


@dataclass
class SelfSupervisedRecipe(Recipe):
    """A recipe of self-supervised optical flow.

    Args:
        iterations: recurrent iterations in training.
        validation_iterations: recurrent iterations in validation.
        gamma: weight of an iteration relative to the next one in the loss.
        photometric_weight: of the difference in brightness (0..1) between frame 1 and frame 2 carried back.
        census_weight: of the share of neighbours (0..1) with which a pixel compares otherwise in the two.
        census_radius: of the square of those neighbours.
        smoothness_weight: of the flow's differences between neighbours, px.
        smoothness_order: 1 wants the flow constant, 2 affine.
        edge_sharpness: by how much an edge of the frame excuses a step of the flow: its cost is multiplied by
            exp(-edge_sharpness · |step of the frame, 0..1|).
        occlusion_from: step from which occluded pixels are left out of both differences; before it all pixels count,
            for an untrained model's two flows say nothing about occlusion. Where all is occluded nothing but smoothness
            is learnt, so choose a step by which `occluded` of the validation has fallen; `steps` means never.
        validation_pairs: at most so many pairs, evenly spread over the validation part.
        seed: decides the initial weights, the order of pairs and their augmentation.
    """

    iterations: int
    validation_iterations: int
    gamma: float
    photometric_weight: float
    census_weight: float
    census_radius: int
    smoothness_weight: float
    smoothness_order: int
    edge_sharpness: float
    occlusion_from: int
    validation_pairs: int
    seed: int

    def __post_init__(self):
        super().__post_init__()
        for key in ("iterations", "validation_iterations", "census_radius", "validation_pairs"):
            if getattr(self, key) < 1:
                raise InputError(f"{key} is {getattr(self, key)}; it must be at least 1")
        for key in ("photometric_weight", "census_weight", "smoothness_weight", "edge_sharpness", "occlusion_from"):
            if getattr(self, key) < 0:
                raise InputError(f"{key} is {getattr(self, key)}; it must not be negative")
        if not 0 < self.gamma <= 1:
            raise InputError(f"gamma is {self.gamma}; it must be above 0 and at most 1")
        if self.photometric_weight == self.census_weight == 0:
            raise InputError(
                "photometric_weight and census_weight are both 0: no frame would have a say in the flow; raise one"
            )
        if self.smoothness_order not in (1, 2):
            raise InputError(
                f"smoothness_order is {self.smoothness_order}; choose 1 (constant flow) or 2 (affine flow)"
            )


def self_supervised_loss(
    frame1: Float[Tensor, "b c h w"],
    frame2: Float[Tensor, "b c h w"],
    flows: Sequence[Float[Tensor, "b 2 h w"]],
    visible: Bool[Tensor, "b h w"],
    recipe: SelfSupervisedRecipe,
) -> Float[Tensor, ""]:
    """Return Σ γ^(n-1-i) · (photometric and census difference over visible pixels + smoothness), each by its weight.

    Args:
        frame1, frame2: in 0..1.
        flows: from frame 1 to frame 2 after each of n iterations, in pixels.
        visible: where frame 2 is taken to show what frame 1 shows.
        recipe: weights.
    """
    census1 = census(frame1, recipe.census_radius) if recipe.census_weight else None
    loss = frame1.new_zeros(())
    for i, flow in enumerate(flows):
        warped = warp(frame2, flow)
        of_flow = recipe.smoothness_weight * smoothness(flow, frame1, recipe.smoothness_order, recipe.edge_sharpness)
        if recipe.photometric_weight:
            of_flow = of_flow + recipe.photometric_weight * mean_where(photometric_difference(frame1, warped), visible)
        if census1 is not None:
            disagree = census_difference(census1, census(warped, recipe.census_radius))
            of_flow = of_flow + recipe.census_weight * mean_where(disagree, visible)
        loss = loss + recipe.gamma ** (len(flows) - 1 - i) * of_flow
    return loss


class SelfSupervisedModule(pl.LightningModule):
    """Trains RAFT on pairs (b, 2, c, h, w) of frames in 0..1, forwards and backwards in time; no true flow is needed.

    A caution for waves: away from a front all is flat, and along a front all is alike (the aperture problem), so the
    frames determine the flow on fronts only, and there across the front only. Smoothness and model fill in the rest.

    Logs `loss` and, at validation, over all pixels of both directions, METRICS: the mean absolute difference in
    brightness between frame 1 and frame 2 carried back by the estimated flow, over the pixels that the forward-backward
    check takes as visible (`photometric`; no number where it takes none) and over all (`photometric_all`); beside each,
    over the same pixels, that of frame 2 where it is (`photometric_no_motion`, `photometric_all_no_motion`); and the
    share of occluded pixels (`occluded`). A model that calls everything occluded improves neither `photometric_all` nor
    `occluded`.

    Args:
        model: RAFT; trained in place.
        recipe: how.
        colour: how a frame becomes the RGB image that RAFT is given; the loss sees the frame itself.
        transfer: what was loaded and is frozen; None where nothing is.
    """

    def __init__(self, model: RAFT, recipe: SelfSupervisedRecipe, colour: Colour, transfer: Transfer | None = None):
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.colour: Colour = colour
        self.transfer = transfer
        self.validation_metrics = torch.nn.ModuleDict({name: MeanMetric() for name in METRICS})

    def _images(self, frames: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3 h w"]:
        return 255 * to_rgb(frames, self.colour)

    def training_step(self, clips: Float[Tensor, "b 2 c h w"], batch_idx: int) -> Tensor:
        frame1, frame2 = both_directions(clips)
        images = self._images(frame1), self._images(frame2)
        flows = [flow.float() for flow in self.model(*images, self.recipe.iterations)]
        if self.global_step >= self.recipe.occlusion_from:
            visible = ~occluded(*there_and_back(flows[-1]))
        else:
            visible = torch.ones_like(frame1[:, 0], dtype=torch.bool)
        loss = self_supervised_loss(frame1, frame2, flows, visible, self.recipe)
        self.log("loss", loss, logger=False, sync_dist=True)
        return loss

    def validation_step(self, clips: Float[Tensor, "b 2 c h w"], batch_idx: int) -> Tensor:
        frame1, frame2 = both_directions(clips)
        images = self._images(frame1), self._images(frame2)
        flow = self.model.estimate(*images, self.recipe.validation_iterations).flow.float()
        hidden = occluded(*there_and_back(flow))
        visible = (~hidden).float()
        error = (frame1 - warp(frame2, flow)).abs().mean(dim=1)
        still = (frame1 - frame2).abs().mean(dim=1)
        metrics = self.validation_metrics
        metrics["photometric"].update(error, weight=visible)
        metrics["photometric_no_motion"].update(still, weight=visible)
        metrics["photometric_all"].update(error)
        metrics["photometric_all_no_motion"].update(still)
        metrics["occluded"].update(hidden.float())
        return flow

    def on_validation_epoch_end(self) -> None:
        for name, metric in self.validation_metrics.items():
            self.log(name, metric.compute(), logger=False)
            metric.reset()

    def configure_optimizers(self) -> dict:
        return adamw_one_cycle(self.model, self.recipe, self.transfer)


def both_directions(
    clips: Float[Tensor, "b 2 c h w"],
) -> tuple[Float[Tensor, "two_b c h w"], Float[Tensor, "two_b c h w"]]:
    """Return first and second frames of the pairs, followed by those of the same pairs backwards in time."""
    frame1, frame2 = clips.unbind(dim=1)
    return torch.cat((frame1, frame2)), torch.cat((frame2, frame1))


def there_and_back(flow: Float[Tensor, "two_b 2 h w"]) -> tuple[Tensor, Tensor]:
    """Return, for flows of `both_directions`, each flow and the one that leads back, pair by pair."""
    forwards, backwards = flow.chunk(2)
    return flow, torch.cat((backwards, forwards))
