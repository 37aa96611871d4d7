"""The lookup of RAFT's correlation without its volume: dot products are made for the windows that are asked for.

Memory grows with the number of pixels, not with its square. Pooling and dot product are both linear, so that a level of
the pyramid is the correlation with pooled features (as in the official `alternate_corr`), and its lookup is the same.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from rwtl.models.correlation import halve

# Gathered windows that are held at a time: on a CPU they should stay in its cache, on a GPU they should fill it.
_CPU_BYTES = 8 * 2**20
_GPU_BYTES = 256 * 2**20


class OnDemandCorrelation(nn.Module):
    """The same numbers as `AllPairsCorrelation`, forward and backward, without ever holding the volume.

    Args:
        levels: number of pyramid levels, each half the resolution of the one before.
        radius: half the window's side; a window holds (2·radius + 1)² values per level.
    """

    def __init__(self, levels: int = 4, radius: int = 4):
        super().__init__()
        self.levels = levels
        self.radius = radius
        self.out_channels = levels * (2 * radius + 1) ** 2

    def prepare(
        self, features1: Float[Tensor, "b c h w"], features2: Float[Tensor, "b c h w"]
    ) -> list[Float[Tensor, "b _h _w c"]]:
        """Return scaled features of frame 1, then those of frame 2 at every level with a margin of zeros."""
        side = 2 * self.radius + 2
        prepared = [(features1 / math.sqrt(features1.shape[1])).permute(0, 2, 3, 1).contiguous()]
        level = features2
        for number in range(self.levels):
            level = halve(level) if number else level
            prepared.append(F.pad(level.permute(0, 2, 3, 1), (0, 0, side, side, side, side)).contiguous())
        return prepared

    def lookup(
        self, prepared: list[Float[Tensor, "b _h _w c"]], coordinates: Float[Tensor, "b 2 h w"]
    ) -> Float[Tensor, "b k h w"]:
        """Return the windows around `coordinates`, in the order of `AllPairsCorrelation.lookup`."""
        features1, *levels = prepared
        b, h, w, c = features1.shape
        side = 2 * self.radius + 1
        looked_up = []
        for level, features2 in enumerate(levels):
            centre = coordinates / 2**level  # (b, 2, h, w)
            corner = centre.floor()
            start = self._starts(corner.long(), features2.shape)
            values = _Windows.apply(
                features1.view(-1, c), features2.view(-1, c), start, features2.shape[2], side + 1
            )  # (b·h·w, side + 1, side + 1): y, x
            fraction = (centre - corner).permute(1, 0, 2, 3).reshape(2, -1, 1, 1)
            values = values[:, :, :-1] + fraction[0] * (values[:, :, 1:] - values[:, :, :-1])
            values = values[:, :-1] + fraction[1] * (values[:, 1:] - values[:, :-1])
            looked_up.append(values.transpose(1, 2).reshape(b, h, w, side * side))  # x is the slow index
        return torch.cat(looked_up, dim=-1).permute(0, 3, 1, 2).contiguous()

    def _starts(self, corner: Int[Tensor, "b 2 h w"], shape: torch.Size) -> Int[Tensor, " n"]:
        """Where each window begins among the pixels of all padded maps; far windows move to the margin's zeros."""
        b, height, width, _ = shape
        margin = 2 * self.radius + 2
        x = (corner[:, 0] - self.radius + margin).clamp(0, width - margin)
        y = (corner[:, 1] - self.radius + margin).clamp(0, height - margin)
        image = torch.arange(b, device=corner.device).view(b, 1, 1)
        return ((image * height + y) * width + x).flatten()


class _Windows(torch.autograd.Function):
    """Dot products of every pixel of frame 1 with a window of frame 2, made again for the gradient in place of kept."""

    @staticmethod
    def forward(
        ctx: Any,
        features1: Float[Tensor, "n c"],
        features2: Float[Tensor, "m c"],
        start: Int[Tensor, " n"],
        width: int,
        side: int,
    ) -> Float[Tensor, "n {side} {side}"]:
        ctx.save_for_backward(features1, features2, start)
        ctx.width, ctx.side = width, side
        values = features1.new_empty(len(features1), side * side)
        for part, pixels in _chunks(start, width, side, features1):
            windows = features2.index_select(0, pixels).view(-1, side * side, features1.shape[1])
            torch.bmm(windows, features1[part, :, None], out=values[part, :, None])
        return values.view(-1, side, side)

    @staticmethod
    def backward(ctx: Any, gradient: Float[Tensor, "n side side"]) -> tuple[Tensor, Tensor, None, None, None]:
        features1, features2, start = ctx.saved_tensors
        side, c = ctx.side, features1.shape[1]
        gradient = gradient.reshape(-1, side * side)
        gradient1, gradient2 = torch.empty_like(features1), torch.zeros_like(features2)
        for part, pixels in _chunks(start, ctx.width, side, features1):
            windows = features2.index_select(0, pixels).view(-1, side * side, c)
            gradient1[part] = torch.bmm(gradient[part, None, :], windows)[:, 0]
            outer = gradient[part, :, None] * features1[part, None, :]
            gradient2.index_add_(0, pixels, outer.view(-1, c))
        return gradient1, gradient2, None, None, None


def _chunks(
    start: Int[Tensor, " n"], width: int, side: int, features: Float[Tensor, "n c"]
) -> Iterator[tuple[slice, Int[Tensor, " k"]]]:
    """Yield slices of the pixels of frame 1, with the pixels of frame 2 in their windows."""
    steps = torch.arange(side, device=start.device)
    window = (steps[:, None] * width + steps).flatten()
    limit = _CPU_BYTES if features.device.type == "cpu" else _GPU_BYTES
    size = max(1, limit // (len(window) * features.shape[1] * features.element_size()))
    for first in range(0, len(features), size):
        part = slice(first, first + size)
        yield part, (start[part, None] + window).flatten()
