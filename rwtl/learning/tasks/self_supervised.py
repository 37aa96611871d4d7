"""How well a flow explains two frames, its truth unknown: photometric and census differences, smoothness, occlusion.

Flows are in pixels (channel 0 is x to the right, 1 is y down) and frames in 0..1; a frame 2 is first carried back to
frame 1 by `warp`.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics import MeanMetric

from rwtl.clips.config import Colour
from rwtl.clips.transforms import to_rgb
from rwtl.learning.devices import mean_over_processes
from rwtl.learning.metrics import counts_by_sample
from rwtl.learning.recipe import RaftRecipe, Task
from rwtl.learning.transfer.callback import Transfer
from rwtl.models.correlation import pixel_grid
from rwtl.models.next_frame import warp
from rwtl.models.raft import RAFT
from rwtl.sections import Count, Natural, NotNegative, Numeric, Seed, Unfit, section

# Of a difference between pixels, on the scale 0..1: what is much smaller is flat, what is much larger is an edge.
# UnFlow's is 0.9 of 255. Cells at rest differ from their neighbours by about 0.001, now and then by 0.005, at random:
# taken as texture, that noise, most of a wave's frame, would outvote the fronts.
CENSUS_SOFTNESS = 0.02
_CENSUS_ROBUSTNESS = 0.1  # UnFlow's: of a squared difference of two census signatures, which lie in -1..1
# Sundaram et al. (2010), as UnFlow has them: a round trip may miss by so much of the squared lengths, plus so many px².
_RELATIVE_MISS, _ABSOLUTE_MISS = 0.01, 0.5


def charbonnier(difference: Float[Tensor, "*n"], epsilon: float = 1e-3) -> Float[Tensor, "*n"]:
    """Return √(x² + ε²) - ε: |x| with a gradient that passes smoothly through zero (Charbonnier et al. 1994)."""
    return (difference.square() + epsilon**2).sqrt() - epsilon


def photometric_difference(
    frame1: Float[Tensor, "b c h w"], warped2: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b h w"]:
    """Return the Charbonnier difference of brightness at every pixel, the mean over channels."""
    return charbonnier(frame1 - warped2).mean(dim=1)


def census(frame: Float[Tensor, "b c h w"], radius: int) -> Float[Tensor, "b k h w"]:
    """Return how each pixel compares with its neighbours: -1 much darker to 1 much brighter, softly, 0 where flat.

    Args:
        frame: its channels are averaged.
        radius: of the square of neighbours, at least 1; k = (2·radius + 1)², the pixel itself (0) included.

    A brightness added to the whole frame changes nothing. After the soft ternary census of Meister et al., "UnFlow"
    (AAAI 2018).
    """
    grey = frame.mean(dim=1, keepdim=True)
    # Repeating the border treats both frames alike: unlike zeros, it draws no edge that stays where it is.
    padded = F.pad(grey, (radius,) * 4, mode="replicate")
    neighbours = F.unfold(padded, 2 * radius + 1).unflatten(2, grey.shape[-2:])  # (b, k, h, w)
    difference = neighbours - grey
    return difference / (CENSUS_SOFTNESS**2 + difference.square()).sqrt()


def census_difference(census1: Float[Tensor, "b k h w"], census2: Float[Tensor, "b k h w"]) -> Float[Tensor, "b h w"]:
    """Return the share of neighbours, softly, with which each pixel compares otherwise in one frame's `census`."""
    squared = (census1 - census2).square()
    return (squared / (_CENSUS_ROBUSTNESS + squared)).mean(dim=1)


def smoothness(
    flow: Float[Tensor, "b 2 h w"], frame: Float[Tensor, "b c h w"], order: int, edge_sharpness: float
) -> Float[Tensor, ""]:
    """Return how much the flow varies, edges of the frame excused: the mean of exp(-s·|∂I|) · Charbonnier(∂ᵏ flow).

    Args:
        flow: in pixels; for order k each side must be longer than k.
        frame: the frame that the flow starts from.
        order: 1 asks the flow to be constant, 2 to be affine along rows and columns.
        edge_sharpness: s, per unit of the frame's difference between neighbours; 0 makes all pixels alike.

    Edge-aware as in Jonschkowski et al., "What matters in unsupervised optical flow" (ECCV 2020).
    """
    total = flow.new_zeros(())
    for axis in (2, 3):
        varies = charbonnier(torch.diff(flow, n=order, dim=axis)).sum(dim=1, keepdim=True)
        edge = torch.diff(frame, dim=axis).abs().mean(dim=1, keepdim=True)
        if order == 2:  # a second difference spans two steps, and an edge in either interrupts it
            steps = edge.shape[axis]
            edge = torch.maximum(edge.narrow(axis, 0, steps - 1), edge.narrow(axis, 1, steps - 1))
        total = total + (torch.exp(-edge_sharpness * edge) * varies).mean()
    return total / 2


def leaves_frame(flow: Float[Tensor, "b 2 h w"]) -> Bool[Tensor, "b h w"]:
    """Return where a flow points outside the frame, beyond the centres of its outermost pixels."""
    height, width = flow.shape[-2:]
    x, y = (pixel_grid(len(flow), height, width, device=flow.device) + flow).unbind(dim=1)
    return (x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)


@torch.no_grad()
def occluded(forward: Float[Tensor, "b 2 h w"], backward: Float[Tensor, "b 2 h w"]) -> Bool[Tensor, "b h w"]:
    """Return where frame 2 cannot show what frame 1 shows, as far as two flows tell: there and back is not home.

    With w the forward flow and v the backward flow where it leads to, a pixel is occluded unless
    |w + v|² < 0.01·(|w|² + |v|²) + 0.5 px² (Sundaram et al., ECCV 2010; Meister et al., "UnFlow", AAAI 2018), and where
    w leaves the frame. What is yes or no has no gradient: a model does not learn to hide what it cannot explain.

    Args:
        forward: flow from frame 1 to frame 2.
        backward: flow from frame 2 to frame 1.
    """
    back = warp(backward, forward)
    miss = (forward + back).square().sum(dim=1)
    lengths = (forward.square() + back.square()).sum(dim=1)
    return (miss >= _RELATIVE_MISS * lengths + _ABSOLUTE_MISS) | leaves_frame(forward)


def mean_where(values: Float[Tensor, "*n"], counted: Bool[Tensor, "*n"]) -> Float[Tensor, ""]:
    """Return the mean of what counts; 0 where nothing does.

    Of several processes that train together each returns its part: their mean is the mean over all that counts.
    """
    return values.masked_fill(~counted, 0).sum() / mean_over_processes(counted.sum().float()).clamp(min=1e-6)


@section("pretraining")
class SelfSupervisedRecipe(RaftRecipe):
    """A recipe of self-supervised optical flow.

    Args:
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

    photometric_weight: NotNegative
    census_weight: NotNegative
    census_radius: Count
    smoothness_weight: NotNegative
    smoothness_order: Annotated[Literal[1, 2], Numeric]
    edge_sharpness: NotNegative
    occlusion_from: Natural
    validation_pairs: Count
    seed: Seed

    def __post_init__(self):
        super().__post_init__()
        if self.photometric_weight == self.census_weight == 0:
            raise Unfit(
                "photometric_weight and census_weight are both 0: no frame would have a say in the flow; raise one"
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


class SelfSupervisedModule(Task):
    """Trains RAFT on pairs (b, 2, c, h, w) of frames in 0..1, forwards and backwards in time; no true flow is needed.

    A caution for waves: away from a front all is flat, and along a front all is alike (the aperture problem), so the
    frames determine the flow on fronts only, and there across the front only. Smoothness and model fill in the rest.

    Logs `loss` and, at validation, over all pixels of both directions: the mean absolute difference in
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

    what_counts = (
        "that the forward-backward check takes as visible: smoothness alone is learnt; raise pretraining.occlusion_from"
    )

    def __init__(self, model: RAFT, recipe: SelfSupervisedRecipe, colour: Colour, transfer: Transfer | None = None):
        photometric = [f"photometric{pixels}{motion}" for pixels in ("", "_all") for motion in ("", "_no_motion")]
        super().__init__(model, recipe, transfer, [*photometric, "occluded"])
        self.colour: Colour = colour
        self.validation_metrics = torch.nn.ModuleDict({name: MeanMetric() for name in self.metrics})

    def loss(self, clips: Float[Tensor, "b 2 c h w"]) -> Float[Tensor, ""]:
        """Return the loss over all iterations and both directions."""
        frame1, frame2 = both_directions(clips)
        images = [255 * to_rgb(frame, self.colour) for frame in (frame1, frame2)]
        flows = [flow.float() for flow in self.model(*images, self.recipe.iterations)]
        if self.global_step >= self.recipe.occlusion_from:
            visible = ~occluded(*there_and_back(flows[-1]))
        else:
            visible = torch.ones_like(frame1[:, 0], dtype=torch.bool)
        self.counted = counts_by_sample(torch.cat(visible.chunk(2), dim=1))
        return self_supervised_loss(frame1, frame2, flows, visible, self.recipe)

    def validation_step(self, clips: Float[Tensor, "b 2 c h w"], batch_idx: int) -> Tensor:
        frame1, frame2 = both_directions(clips)
        images = [255 * to_rgb(frame, self.colour) for frame in (frame1, frame2)]
        flow = self.model.estimate(*images, self.recipe.validation_iterations).flow.float()
        hidden = occluded(*there_and_back(flow))
        visible = (~hidden).float()
        # Where the flow is not finite `warp` takes it for 0, and nothing is occluded.
        known = flow.isfinite().all(dim=1)
        error = (frame1 - warp(frame2, flow)).abs().mean(dim=1).masked_fill(~known, math.nan)
        still = (frame1 - frame2).abs().mean(dim=1)
        metrics = self.validation_metrics
        metrics["photometric"].update(error, weight=visible)
        metrics["photometric_no_motion"].update(still, weight=visible)
        metrics["photometric_all"].update(error)
        metrics["photometric_all_no_motion"].update(still)
        metrics["occluded"].update(hidden.float())
        return flow


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
