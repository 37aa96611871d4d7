"""How well a flow explains two frames, its truth unknown: photometric and census differences, smoothness, occlusion.

Flows are in pixels (channel 0 is x to the right, 1 is y down) and frames in 0..1; a frame 2 is first carried back to
frame 1 by `warp`.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from rwtl.models.correlation import pixel_grid
from rwtl.models.next_frame_decoders import warp
from rwtl.training.processes import mean_over_processes

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
