"""Flow from 1/8 to full resolution (RAFT, section 3.3)."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def upsample_bilinear(flow: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b 2 h8 w8"]:
    """Enlarge a flow eight times; vectors grow with the grid (small RAFT)."""
    size = (8 * flow.shape[-2], 8 * flow.shape[-1])
    return 8 * F.interpolate(flow, size=size, mode="bilinear", align_corners=True)


def upsample_convex(flow: Float[Tensor, "b 2 h w"], mask: Float[Tensor, "b 576 h w"]) -> Float[Tensor, "b 2 h8 w8"]:
    """Enlarge a flow eight times: a fine pixel is a convex combination of 3×3 coarse ones (RAFT, section 3.3)."""
    b, _, h, w = flow.shape
    weights = mask.reshape(b, 1, 9, 8, 8, h, w).softmax(dim=2)
    neighbours = F.unfold(8 * flow, 3, padding=1).reshape(b, 2, 9, 1, 1, h, w)
    fine = (weights * neighbours).sum(dim=2)  # (b, 2, 8, 8, h, w)
    return fine.permute(0, 1, 4, 2, 5, 3).reshape(b, 2, 8 * h, 8 * w)


class BilinearUpsampler(nn.Module):
    """Small RAFT's upsampling: the hidden state is not used."""

    def forward(self, flow: Float[Tensor, "b 2 h w"], hidden: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 2 h8 w8"]:
        return upsample_bilinear(flow)


class ConvexUpsampler(nn.Module):
    """Basic RAFT's upsampling: the weights of the neighbours are predicted from the hidden state."""

    def __init__(self, hidden: int = 128):
        super().__init__()
        self.mask = nn.Sequential(nn.Conv2d(hidden, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, 64 * 9, 1))

    def forward(self, flow: Float[Tensor, "b 2 h w"], hidden: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 2 h8 w8"]:
        # 0.25 balances the gradients, as in the official training.
        return upsample_convex(flow, 0.25 * self.mask(hidden))
