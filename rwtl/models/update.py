"""The recurrent update of RAFT: motion encoder, ConvGRU and flow head (RAFT, section 3.3)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ConvGRU(nn.Module):
    """A gated recurrent unit of convolutions with kernel (rows, columns)."""

    def __init__(self, hidden: int, inputs: int, kernel: tuple[int, int]):
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.convz = nn.Conv2d(hidden + inputs, hidden, kernel, padding=padding)
        self.convr = nn.Conv2d(hidden + inputs, hidden, kernel, padding=padding)
        self.convq = nn.Conv2d(hidden + inputs, hidden, kernel, padding=padding)

    def forward(self, h: Float[Tensor, "b c h w"], x: Float[Tensor, "b c2 h w"]) -> Float[Tensor, "b c h w"]:
        hx = torch.cat((h, x), dim=1)
        z = torch.sigmoid(self.convz(hx))
        r = torch.sigmoid(self.convr(hx))
        q = torch.tanh(self.convq(torch.cat((r * h, x), dim=1)))
        return (1 - z) * h + z * q


class SeparableConvGRU(nn.Module):
    """A 1×5 ConvGRU followed by a 5×1 one."""

    def __init__(self, hidden: int, inputs: int):
        super().__init__()
        self.horizontal = ConvGRU(hidden, inputs, (1, 5))
        self.vertical = ConvGRU(hidden, inputs, (5, 1))

    def forward(self, h: Float[Tensor, "b c h w"], x: Float[Tensor, "b c2 h w"]) -> Float[Tensor, "b c h w"]:
        return self.vertical(self.horizontal(h, x), x)


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

    def forward(
        self,
        hidden: Float[Tensor, "b c h w"],
        context: Float[Tensor, "b d h w"],
        correlation: Float[Tensor, "b k h w"],
        flow: Float[Tensor, "b 2 h w"],
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b 2 h w"]]:
        motion = self.motion_encoder(correlation, flow)
        hidden = self.gru(hidden, torch.cat((context, motion), dim=1))
        return hidden, self.flow_head(hidden)


def basic_update_block(correlation_channels: int, hidden: int = 128, context: int = 128) -> UpdateBlock:
    """The update block of basic RAFT: separable ConvGRU."""
    motion_encoder = BasicMotionEncoder(correlation_channels)
    gru = SeparableConvGRU(hidden, context + motion_encoder.out_channels)
    return UpdateBlock(motion_encoder, gru, FlowHead(hidden, 256))


def small_update_block(correlation_channels: int, hidden: int = 96, context: int = 64) -> UpdateBlock:
    """The update block of small RAFT: plain 3×3 ConvGRU."""
    motion_encoder = SmallMotionEncoder(correlation_channels)
    gru = ConvGRU(hidden, context + motion_encoder.out_channels, (3, 3))
    return UpdateBlock(motion_encoder, gru, FlowHead(hidden, 128))
