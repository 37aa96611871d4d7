"""The one form of a data set of optical flow, and of the pairs of frames that it hands out."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.utils.data import Dataset

# Middlebury: a component beyond this means that the flow is not known.
UNKNOWN = 1e9
# RAFT leaves longer displacements out of its loss (Teed and Deng 2020, official training code).
MAX_DISPLACEMENT = 400.0
# How RAFT's official evaluation pads frames to multiples of 8 px: on all sides, or the height at the bottom alone.
PaddingMode = Literal["sintel", "kitti"]


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


class FlowDataset(Dataset[FlowSample]):
    """A data set of flow: all that a training, an evaluation and a picture ask of one.

    A subclass has `__len__` and `__getitem__`, sets `names`, and states what differs from the defaults below.

    Attributes:
        names: The name of each pair, in the order of the indices; no two are equal.
        has_flow: Whether there is any flow to learn from or to compare with; a test split keeps all of it back.
        sparse: Whether much of the flow is not known, so that an augmentation must not interpolate it.
        padding: How RAFT pads the frames.
        sequences: The sequence of each pair, in the order of the indices; the pairs of one follow each other in time.
            None where pairs have nothing to do with each other.
    """

    names: Sequence[str]
    has_flow: bool = True
    sparse: bool = False
    padding: PaddingMode = "sintel"
    sequences: Sequence[str] | None = None

    def __len__(self) -> int:
        raise NotImplementedError

    def frame_size(self, index: int) -> tuple[int, int] | None:
        """Return height and width of a pair's frames in px without making them; None where that is not known."""
        return None

    def identity(self) -> dict[str, Any]:
        """Return the values that determine the samples, as JSON takes them.

        They are part of the digest of what is trained or evaluated on the data set, so all data sets of the catalogue
        have them. A data set that is made of other artifacts needs none: those are in the digest themselves.
        """
        raise NotImplementedError(f"{type(self).__name__} needs an identity() to be a data set of the catalogue")
