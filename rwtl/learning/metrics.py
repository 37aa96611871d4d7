"""Errors of an optical flow."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics import Metric

from rwtl.errors import InputError
from rwtl.flow.sample import MAX_DISPLACEMENT

THRESHOLDS = (1, 3, 5)  # px
SPEEDS = {"s0_10": (0, 10), "s10_40": (10, 40), "s40": (40, float("inf"))}  # px, as MPI-Sintel's s0-10, s10-40 and s40+
ACCURACY = ("epe", *(f"{threshold}px" for threshold in THRESHOLDS))  # what tables show where there is little room
METRICS = (*ACCURACY, "fl_all", *SPEEDS)


def end_point_error(predicted: Float[Tensor, "b 2 h w"], flow: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b h w"]:
    """Return the length in pixels of the difference between two flows, at every pixel."""
    return torch.linalg.vector_norm(predicted - flow, dim=1)


def normal_error(predicted: Float[Tensor, "b 2 h w"], flow: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b h w"]:
    """Return by how many pixels the component along the true flow is off; of the flow of fronts nothing else is known.

    Where the true flow is 0 it has no direction, and the error is the end-point error.
    """
    length = torch.linalg.vector_norm(flow, dim=1)
    along = ((predicted - flow) * flow).sum(dim=1).abs() / length.clamp(min=1e-9)
    return torch.where(length > 0, along, end_point_error(predicted, flow))


def counts_in_loss(flow: Float[Tensor, "b 2 h w"], valid: Float[Tensor, "b h w"]) -> Bool[Tensor, "b h w"]:
    """Return which pixels' flow is known and shorter than 400 px."""
    return (valid >= 0.5) & (torch.linalg.vector_norm(flow, dim=1) < MAX_DISPLACEMENT)


def counts_by_sample(counted: Bool[Tensor, "b h w"]) -> Int[Tensor, "b 2"]:
    """Return how many pixels each sample has, and how many of them count."""
    of_sample = counted.flatten(1)
    return torch.stack((torch.full_like(of_sample[:, 0], of_sample.shape[1], dtype=torch.int64), of_sample.sum(1)), 1)


def require_known(dataset: str, pixels: int) -> None:
    """Raise InputError where no pixel of a data set's pairs has a flow to compare an estimate with."""
    if not pixels:
        raise InputError(
            f"0 pixels of the data set {dataset} have a known flow, so nothing can be compared with it; check where "
            "its flow is said to be known"
        )


def sequence_loss(
    predictions: list[Float[Tensor, "b 2 h w"]],
    flow: Float[Tensor, "b 2 h w"],
    valid: Float[Tensor, "b h w"],
    gamma: float,
) -> Float[Tensor, ""]:
    """Return Σ γ^(n-1-i) · mean(counted · |Δ|₁): later iterations count more (RAFT, equation 7).

    What counts says `counts_in_loss`. The mean is over all pixels and both channels, whether they count or
    not, as in the official code.
    """
    counted = counts_in_loss(flow, valid)
    weight = counted[:, None].to(flow.dtype)
    flow = flow.masked_fill(~counted[:, None], 0)  # what is not known may be infinite, and 0 · ∞ is no number
    loss = flow.new_zeros(())
    for i, predicted in enumerate(predictions):
        factor = gamma ** (len(predictions) - 1 - i)
        loss = loss + factor * (weight * (predicted - flow).abs()).mean()
    return loss


class FlowMetrics(Metric):
    """Errors over all valid pixels.

    `epe`: end-point error in px; `1px`, `3px`, `5px`: percentage of pixels with an error below that; `fl_all`:
    percentage of outliers, with an error above 3 px and above 5 % of the displacement (KITTI 2015), or one that is not
    finite; `s0_10`, `s10_40`,
    `s40`: end-point error in px of pixels that move by less than 10 px, by 10 to 40 px and by 40 px or more
    (MPI-Sintel), which is no number where there are none.

    `compute` also gives the numbers of pixels that these are means over: `pixels`, `pixels_s0_10` and so on.
    """

    def __init__(self):
        super().__init__()
        groups = 1 + len(SPEEDS)  # all pixels, and those of each speed
        for name, size in {"error": groups, "pixels": groups, "below": len(THRESHOLDS), "outliers": 1}.items():
            self.add_state(name, torch.zeros(size, dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self,
        predicted: Float[Tensor, "b 2 h w"],
        flow: Float[Tensor, "b 2 h w"],
        valid: Float[Tensor, "b h w"],
    ) -> None:
        counted = valid >= 0.5
        error = end_point_error(predicted, flow)[counted]
        speed = torch.linalg.vector_norm(flow, dim=1)[counted]
        groups = [error, *(error[(speed >= low) & (speed < high)] for low, high in SPEEDS.values())]
        self.error += torch.stack([group.double().sum() for group in groups])
        self.pixels += self.pixels.new_tensor([group.numel() for group in groups])
        self.below += torch.stack([(error < threshold).sum() for threshold in THRESHOLDS])
        self.outliers += (((error > 3) & (error > 0.05 * speed)) | ~error.isfinite()).sum()

    def compute(self) -> dict[str, Tensor]:
        epe, *of_speeds = self.error / self.pixels
        percentages = 100 * torch.cat((self.below, self.outliers)) / self.pixels[0]
        names = (*METRICS, *map(pixels_of, ("epe", *SPEEDS)))
        return dict(zip(names, (epe, *percentages, *of_speeds, *self.pixels), strict=True))


def pixels_of(metric: str) -> str:
    """Return which number of pixels a metric is a mean over."""
    return f"pixels_{metric}" if metric in SPEEDS else "pixels"
