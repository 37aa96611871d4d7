"""RAFT's convolutional encoders, basic and small (Teed & Deng, ECCV 2020, section 3.1 and the supplement)."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Norm = Literal["instance", "batch", "none"]
_NORMS: dict[Norm, Callable[[int], nn.Module]] = {
    "instance": nn.InstanceNorm2d,
    "batch": nn.BatchNorm2d,
    "none": nn.Identity,
}


def make_norm(norm: Norm, channels: int) -> nn.Module:
    """Return a layer: `instance` has no parameters (as in stock RAFT), `batch` has weights and running statistics."""
    return _NORMS[norm](channels)


def relu(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Rectify, in place where no gradient is kept; else InstanceNorm, whose output is a view, would cost a copy."""
    return F.relu(x, inplace=not torch.is_grad_enabled())


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut; `stride` 2 halves height and width."""

    def __init__(self, in_channels: int, out_channels: int, norm: Norm, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.norm1 = make_norm(norm, out_channels)
        self.norm2 = make_norm(norm, out_channels)
        self.downsample = _shortcut(in_channels, out_channels, norm, stride)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        y = relu(self.norm1(self.conv1(x)))
        y = relu(self.norm2(self.conv2(y)))
        return relu(self.downsample(x) + y)


class BottleneckBlock(nn.Module):
    """1×1, 3×3, 1×1 convolutions with a shortcut, at a quarter of the channels; `stride` 2 halves height and width."""

    def __init__(self, in_channels: int, out_channels: int, norm: Norm, stride: int):
        super().__init__()
        inner = out_channels // 4
        self.conv1 = nn.Conv2d(in_channels, inner, 1)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1)
        self.conv3 = nn.Conv2d(inner, out_channels, 1)
        self.norm1 = make_norm(norm, inner)
        self.norm2 = make_norm(norm, inner)
        self.norm3 = make_norm(norm, out_channels)
        self.downsample = _shortcut(in_channels, out_channels, norm, stride)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        y = relu(self.norm1(self.conv1(x)))
        y = relu(self.norm2(self.conv2(y)))
        y = relu(self.norm3(self.conv3(y)))
        return relu(self.downsample(x) + y)


def _shortcut(in_channels: int, out_channels: int, norm: Norm, stride: int) -> nn.Module:
    if stride == 1:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride), make_norm(norm, out_channels))


class Encoder(nn.Module):
    """Images to features at 1/8 of the resolution: a strided stem, three stages of two residual blocks, a 1×1 output.

    Args:
        block: `ResidualBlock` (basic) or `BottleneckBlock` (small).
        widths: channels of the stem and first stage, of the second and of the third stage.
        out_channels: channels of the features.
        norm: normalisation after every convolution but the last.
    """

    def __init__(
        self,
        block: type[ResidualBlock] | type[BottleneckBlock],
        widths: tuple[int, int, int],
        out_channels: int,
        norm: Norm,
    ):
        super().__init__()
        self.out_channels = out_channels
        self.conv1 = nn.Conv2d(3, widths[0], 7, stride=2, padding=3)
        self.norm1 = make_norm(norm, widths[0])
        self.layer1 = nn.Sequential(block(widths[0], widths[0], norm, 1), block(widths[0], widths[0], norm, 1))
        self.layer2 = nn.Sequential(block(widths[0], widths[1], norm, 2), block(widths[1], widths[1], norm, 1))
        self.layer3 = nn.Sequential(block(widths[1], widths[2], norm, 2), block(widths[2], widths[2], norm, 1))
        self.conv2 = nn.Conv2d(widths[2], out_channels, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:  # a plan only looks at names and shapes
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h8 w8"]:
        """Encode images in -1..1 whose height and width are multiples of 8."""
        x = relu(self.norm1(self.conv1(images)))  # (b, widths[0], h/2, w/2)
        x = self.layer3(self.layer2(self.layer1(x)))  # (b, widths[2], h/8, w/8)
        return self.conv2(x)


def batch_norms(module: nn.Module) -> dict[str, nn.BatchNorm2d]:
    """Return the BatchNorm layers of `module` by name; empty for stock RAFT's feature encoder."""
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.BatchNorm2d)}


def norm_of(encoder: Encoder) -> Norm:
    """Return the normalisation of an encoder."""
    return next(norm for norm, layer in _NORMS.items() if type(encoder.norm1) is layer)


def to_encoder_range(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Map 0..255 to the -1..1 that the encoders expect."""
    return 2 * (images / 255) - 1
