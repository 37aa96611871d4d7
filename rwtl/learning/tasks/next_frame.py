"""Next-frame prediction on clips of waves or scenes, a source task."""

from typing import Annotated

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics import MeanMetric

from rwtl.errors import InputError
from rwtl.learning.devices import mean_over_processes
from rwtl.learning.recipe import SourceRecipe, Task
from rwtl.learning.skill import copy_last, extrapolate
from rwtl.learning.transfer.callback import Transfer
from rwtl.models.next_frame import CONTEXTS, DECODERS, NextFrameModel
from rwtl.sections import NotNegative, OneOf, section

LOSSES = {"mse": F.mse_loss, "l1": F.l1_loss}


@section("pretraining")
class PretrainingRecipe(SourceRecipe):
    """A recipe of next-frame prediction.

    Args:
        iterations: recurrent iterations of the next-frame model, for each predicted frame.
        decoder: `warp` or `direct`, of the next-frame model.
        context: `features` or `context_encoder`, of the next-frame model.
        loss: `mse` or `l1`.
        active_weight: by how much active pixels weigh more in the loss than others, whose weight is 1; at least 0.
    """

    decoder: Annotated[str, OneOf(DECODERS)] = "warp"
    context: Annotated[str, OneOf(CONTEXTS)] = "features"
    loss: Annotated[str, OneOf(LOSSES)] = "mse"
    active_weight: NotNegative = 0.0


def activity_weights(
    clips: Float[Tensor, "b n c h w"], active_level: float, active_weight: float
) -> Float[Tensor, "b n-2 c h w"]:
    """Return the weight of every pixel of I3 to In, 1 on average over the batch, of all processes.

    A pixel that is active (at or above `active_level`) in the frame or in the one before it weighs 1 + `active_weight`
    times as much as others: where a wave arrives and where it leaves.
    """
    active = clips[:, 1:] >= active_level
    weights = 1 + active_weight * (active[:, 1:] | active[:, :-1]).to(clips.dtype)
    return weights / mean_over_processes(weights.mean())


class NextFrameModule(Task):
    """Trains the next-frame model on clips (b, n, c, h, w), n >= 3, to predict frames 3 to n.

    Logs `loss` and, at validation, `mse` beside the baselines `mse_copy` and `mse_extrapolation` on the same frames.

    Args:
        model: trained in place.
        recipe: how.
        active_level: from which value of a frame on a pixel is active; None where frames have no such level.
        transfer: what the model began with and what is frozen, or None.

    Raises:
        InputError: The loss is weighted by activity, and there is no active level, or one outside 0 to 1.
    """

    def __init__(
        self,
        model: NextFrameModel,
        recipe: PretrainingRecipe,
        active_level: float | None,
        transfer: Transfer | None = None,
    ):
        predictors = {"mse": model, "mse_copy": copy_last, "mse_extrapolation": extrapolate}
        super().__init__(model, recipe, transfer, predictors)
        if recipe.active_weight > 0 and active_level is None:
            raise InputError(
                f"active_weight is {recipe.active_weight}, but these clips have no level from which a pixel is active; "
                "set active_weight to 0, or use clips of waves"
            )
        if recipe.active_weight > 0 and not 0 < active_level <= 1:
            raise InputError(
                f"active_weight is {recipe.active_weight}, but clips.active_above is {active_level:.3g} of the range "
                "that frames are normalised to, where all pixels or none are active; change clips.active_above, "
                "clips.calcium_range or clips.percentiles, or set active_weight to 0"
            )
        self.active_level = active_level
        self.predictors = predictors
        self.validation_metrics = nn.ModuleDict({name: MeanMetric() for name in predictors})

    def loss(self, clips: Float[Tensor, "b n c h w"]) -> Float[Tensor, ""]:
        """Return the mean error of the predicted frames, in which active pixels weigh more."""
        errors = LOSSES[self.recipe.loss](self.model(clips[:, :-1]), clips[:, 2:], reduction="none")
        if self.recipe.active_weight > 0:
            errors = errors * activity_weights(clips, self.active_level, self.recipe.active_weight)
        return errors.mean()

    def validation_step(self, clips: Float[Tensor, "b n c h w"], batch_idx: int) -> None:
        for name, predict in self.predictors.items():
            error = F.mse_loss(predict(clips[:, :-1]), clips[:, 2:])
            self.validation_metrics[name].update(error, weight=len(clips))
