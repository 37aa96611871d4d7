"""Errors of an optical flow."""

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric

THRESHOLDS = (1, 3, 5)
METRICS = ("epe", *(f"{threshold}px" for threshold in THRESHOLDS))


def end_point_error(predicted: Float[Tensor, "b 2 h w"], flow: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b h w"]:
    """Return the length in pixels of the difference between two flows, at every pixel."""
    return torch.linalg.vector_norm(predicted - flow, dim=1)


def sequence_loss(
    predictions: list[Float[Tensor, "b 2 h w"]],
    flow: Float[Tensor, "b 2 h w"],
    valid: Float[Tensor, "b h w"],
    gamma: float,
) -> Float[Tensor, ""]:
    """Return Σ γ^(n-1-i) · mean(valid · |Δ|₁): later iterations count more (RAFT, equation 7).

    The mean is over all pixels and both channels, valid or not, as in the official code.
    """
    loss = flow.new_zeros(())
    for i, predicted in enumerate(predictions):
        weight = gamma ** (len(predictions) - 1 - i)
        loss = loss + weight * (valid[:, None] * (predicted - flow).abs()).mean()
    return loss


class FlowMetrics(Metric):
    """End-point error (px) and the percentage of pixels with an error below 1, 3 and 5 px, over all valid pixels."""

    def __init__(self):
        super().__init__()
        self.add_state("error", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("pixels", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        for threshold in THRESHOLDS:
            self.add_state(f"below{threshold}", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self,
        predicted: Float[Tensor, "b 2 h w"],
        flow: Float[Tensor, "b 2 h w"],
        valid: Float[Tensor, "b h w"],
    ) -> None:
        error = end_point_error(predicted, flow)[valid >= 0.5]
        self.error += error.double().sum()
        self.pixels += error.numel()
        for threshold in THRESHOLDS:
            setattr(self, f"below{threshold}", getattr(self, f"below{threshold}") + (error < threshold).double().sum())

    def compute(self) -> dict[str, Tensor]:
        percent = {f"{t}px": 100 * getattr(self, f"below{t}") / self.pixels for t in THRESHOLDS}
        return {"epe": self.error / self.pixels, **percent}
