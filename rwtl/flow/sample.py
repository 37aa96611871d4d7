"""The one form in which every optical-flow data set hands out a pair of frames."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

# Middlebury: a component beyond this means that the flow is not known.
UNKNOWN = 1e9
# RAFT leaves longer displacements out of its loss (Teed and Deng 2020, official training code).
MAX_DISPLACEMENT = 400.0


class FlowSample(NamedTuple):
    """Two frames and the optical flow from the first to the second.

    `default_collate` turns a list of samples into one FlowSample with a leading batch axis.

    Attributes:
        image1: First frame, RGB, 0..255.
        image2: Second frame, RGB, 0..255.
        flow: Displacement in px of each pixel of `image1`; channel 0 is x to the right, channel 1 is y down.
        valid: 1.0 where the flow is known, elsewhere 0.0.
    """

    image1: Float[Tensor, "*batch 3 h w"]
    image2: Float[Tensor, "*batch 3 h w"]
    flow: Float[Tensor, "*batch 2 h w"]
    valid: Float[Tensor, "*batch h w"]


def flow_sample(
    image1: Float32[np.ndarray, "3 h w"],
    image2: Float32[np.ndarray, "3 h w"],
    flow: Float32[np.ndarray, "2 h w"],
    known: Float32[np.ndarray, "h w"],
) -> FlowSample:
    """Build a FlowSample from arrays with a map of where the flow is known.

    Args:
        image1: First frame, RGB, 0..255.
        image2: Second frame, RGB, 0..255.
        flow: Displacement in px (x to the right, y down).
        known: 1 where the flow is known, elsewhere 0.

    Returns:
        The sample; it shares memory with the arrays.
    """
    return FlowSample(*(torch.from_numpy(array) for array in (image1, image2, flow, known)))
