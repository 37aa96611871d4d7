"""The recurrent update of RAFT: motion encoder, ConvGRU, flow head and upsampling (RAFT, section 3.3)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

BoundContext = tuple[Tensor, ...]  # what the iterations share, made from the context once


class ConvGRU(nn.Module):
    """A gated recurrent unit of convolutions with kernel (rows, columns); its inputs are context and motion."""

    def __init__(self, hidden: int, context: int, motion: int, kernel: tuple[int, int] = (3, 3)):
        super().__init__()
        self.channels = (hidden, context, motion)
        self.gates = (2 * hidden, hidden)  # channels of z and r together, then of q
        self.padding = (kernel[0] // 2, kernel[1] // 2)
        self.convz = nn.Conv2d(sum(self.channels), hidden, kernel, padding=self.padding)
        self.convr = nn.Conv2d(sum(self.channels), hidden, kernel, padding=self.padding)
        self.convq = nn.Conv2d(sum(self.channels), hidden, kernel, padding=self.padding)

    def bind(self, context: Float[Tensor, "b d h w"]) -> BoundContext:
        """Return the context's share of the convolutions and the weights of the rest, for `forward`."""
        weight = torch.cat([self.convz.weight, self.convr.weight, self.convq.weight])
        bias = torch.cat([self.convz.bias, self.convr.bias, self.convq.bias])
        last = self.convz.weight.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if last else torch.contiguous_format
        of_hidden, of_context, of_motion = (
            part.contiguous(memory_format=layout) for part in weight.split(self.channels, dim=1)
        )
        of_hidden_zr, of_hidden_q = of_hidden.split(self.gates)
        share = F.conv2d(context, of_context, bias, padding=self.padding)
        # Under autocast the share has the lower precision: weights that are cast here are not cast in every iteration.
        return share, *(part.to(share.dtype) for part in (of_motion, of_hidden_zr, of_hidden_q))

    def forward(
        self, h: Float[Tensor, "b c h w"], motion: Float[Tensor, "b m h w"], bound: BoundContext
    ) -> Float[Tensor, "b c h w"]:
        """Return the new hidden state; `bound` is of `bind`."""
        share, of_motion, of_hidden_zr, of_hidden_q = bound
        # In place, since nothing but these sums needs what a convolution gives.
        inputs = F.conv2d(motion, of_motion, padding=self.padding).add_(share)
        inputs_zr, inputs_q = inputs.split(self.gates, dim=1)
        z, r = F.conv2d(h, of_hidden_zr, padding=self.padding).add_(inputs_zr).sigmoid_().chunk(2, dim=1)
        q = F.conv2d(r * h, of_hidden_q, padding=self.padding).add_(inputs_q).tanh_()
        return torch.lerp(h, q, z)  # (1 - z)·h + z·q


class SeparableConvGRU(nn.Module):
    """A 1×5 ConvGRU followed by a 5×1 one."""

    def __init__(self, hidden: int, context: int, motion: int):
        super().__init__()
        self.horizontal = ConvGRU(hidden, context, motion, (1, 5))
        self.vertical = ConvGRU(hidden, context, motion, (5, 1))

    def bind(self, context: Float[Tensor, "b d h w"]) -> BoundContext:
        """Return what both units share over the iterations."""
        return *self.horizontal.bind(context), *self.vertical.bind(context)

    def forward(
        self, h: Float[Tensor, "b c h w"], motion: Float[Tensor, "b m h w"], bound: BoundContext
    ) -> Float[Tensor, "b c h w"]:
        """Return the new hidden state; `bound` is of `bind`."""
        half = len(bound) // 2
        return self.vertical(self.horizontal(h, motion, bound[:half]), motion, bound[half:])


class FlowHead(nn.Module):
    """Hidden state to an increment of the flow, in pixels of the 1/8 resolution."""

    def __init__(self, hidden: int, inner: int):
        super().__init__()
        self.conv1 = nn.Conv2d(hidden, inner, 3, padding=1)
        self.conv2 = nn.Conv2d(inner, 2, 3, padding=1)

    def forward(self, h: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 2 h w"]:
        return self.conv2(F.relu(self.conv1(h)))


class BasicMotionEncoder(nn.Module):
    """Correlation and flow to 128 channels, of which the last two are the flow itself."""

    out_channels = 128

    def __init__(self, correlation_channels: int):
        super().__init__()
        self.convc1 = nn.Conv2d(correlation_channels, 256, 1)
        self.convc2 = nn.Conv2d(256, 192, 3, padding=1)
        self.convf1 = nn.Conv2d(2, 128, 7, padding=3)
        self.convf2 = nn.Conv2d(128, 64, 3, padding=1)
        self.conv = nn.Conv2d(192 + 64, 128 - 2, 3, padding=1)

    def forward(
        self, correlation: Float[Tensor, "b k h w"], flow: Float[Tensor, "b 2 h w"]
    ) -> Float[Tensor, "b 128 h w"]:
        c = F.relu(self.convc2(F.relu(self.convc1(correlation))))
        f = F.relu(self.convf2(F.relu(self.convf1(flow))))
        return torch.cat((F.relu(self.conv(torch.cat((c, f), dim=1))), flow), dim=1)


class SmallMotionEncoder(nn.Module):
    """Correlation and flow to 82 channels, of which the last two are the flow itself."""

    out_channels = 82

    def __init__(self, correlation_channels: int):
        super().__init__()
        self.convc1 = nn.Conv2d(correlation_channels, 96, 1)
        self.convf1 = nn.Conv2d(2, 64, 7, padding=3)
        self.convf2 = nn.Conv2d(64, 32, 3, padding=1)
        self.conv = nn.Conv2d(96 + 32, 80, 3, padding=1)

    def forward(
        self, correlation: Float[Tensor, "b k h w"], flow: Float[Tensor, "b 2 h w"]
    ) -> Float[Tensor, "b 82 h w"]:
        c = F.relu(self.convc1(correlation))
        f = F.relu(self.convf2(F.relu(self.convf1(flow))))
        return torch.cat((F.relu(self.conv(torch.cat((c, f), dim=1))), flow), dim=1)


class UpdateBlock(nn.Module):
    """One iteration: look at the correlation and the flow so far, update the hidden state, propose an increment."""

    def __init__(self, motion_encoder: nn.Module, gru: nn.Module, flow_head: nn.Module):
        super().__init__()
        self.motion_encoder = motion_encoder
        self.gru = gru
        self.flow_head = flow_head

    def bind(self, context: Float[Tensor, "b d h w"]) -> BoundContext:
        """Return what all iterations share, made from the context once."""
        return self.gru.bind(context)

    def forward(
        self,
        hidden: Float[Tensor, "b c h w"],
        correlation: Float[Tensor, "b k h w"],
        flow: Float[Tensor, "b 2 h w"],
        bound: BoundContext,
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b 2 h w"]]:
        """Return the new hidden state and the increment of the flow, in pixels of the 1/8 resolution."""
        hidden = self.gru(hidden, self.motion_encoder(correlation, flow), bound)
        return hidden, self.flow_head(hidden)


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
