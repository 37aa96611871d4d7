"""BatchNorm over the batches of all processes that train together, as if one process had the whole batch."""

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn

from rwtl.models.encoder import batch_norms


class _Sum(torch.autograd.Function):
    """The sum over all processes, of values and, on the way back, of gradients: of the losses of all processes."""

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


class SharedBatchNorm2d(nn.BatchNorm2d):
    """In training, BatchNorm with mean and variance over the batches of all processes, which are of equal size.

    PyTorch's SyncBatchNorm refuses tensors on a CPU, where this is tested.
    """

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        if not self.training or not distributed.is_initialized():
            return super().forward(input)
        processes = distributed.get_world_size()
        features = input.float()
        mean = _Sum.apply(features.mean(dim=(0, 2, 3))) / processes
        centred = features - mean[:, None, None]
        variance = _Sum.apply(centred.square().mean(dim=(0, 2, 3))) / processes
        self._remember(mean.detach(), variance.detach(), processes * input.numel() // input.shape[1])
        scaled = centred * torch.rsqrt(variance + self.eps)[:, None, None]
        if self.affine:
            scaled = scaled * self.weight[:, None, None] + self.bias[:, None, None]
        return scaled.to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Float[Tensor, " c"], variance: Float[Tensor, " c"], count: int) -> None:
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)


def share_batchnorm(model: nn.Module) -> None:
    """Let all BatchNorm layers of a model take the batches of all processes for one; names and weights stay."""
    for layer in batch_norms(model).values():
        layer.__class__ = SharedBatchNorm2d
