"""The lookup of RAFT's correlation without its volume: dot products are made for the windows that are asked for.

Memory grows with the number of pixels, not with its square. Pooling and dot product are both linear, so that a level of
the pyramid is the correlation with pooled features (as in the official `alternate_corr`), and its lookup is the same.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from rwtl.models.correlation import halve
from rwtl.models.windows import between_pixels, windows_around

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
        """Return scaled features of frame 1, then those of frame 2 at every level."""
        prepared = [(features1 / math.sqrt(features1.shape[1])).permute(0, 2, 3, 1).contiguous()]
        for number in range(self.levels):
            features2 = halve(features2) if number else features2
            prepared.append(features2.permute(0, 2, 3, 1).contiguous())
        return prepared

    def lookup(
        self, prepared: list[Float[Tensor, "b _h _w c"]], coordinates: Float[Tensor, "b 2 h w"]
    ) -> tuple[Float[Tensor, "b k h w"], list[Float[Tensor, "b _h _w c"]]]:
        """Return the windows around `coordinates`, in the order of `AllPairsCorrelation.lookup`."""
        features1, *levels = prepared
        b, h, w, c = features1.shape
        centre = coordinates.permute(0, 2, 3, 1).reshape(-1, 2)
        image = torch.arange(b, device=coordinates.device).repeat_interleave(h * w)[:, None]
        looked_up = []
        for level, features2 in enumerate(levels):
            height, width = features2.shape[1:3]
            windows = windows_around(centre / 2**level, self.radius, height, width)
            rows = (image * height + windows.rows) * width  # of all images' maps
            values = _DotProducts.apply(features1.view(-1, c), features2.view(-1, c), rows, windows.columns)
            looked_up.append(between_pixels(values, windows))
        return torch.cat(looked_up, dim=1).view(b, h, w, -1).permute(0, 3, 1, 2).contiguous(), prepared


class _DotProducts(torch.autograd.Function):
    """Dot products of every pixel of frame 1 with a window of frame 2, made again for the gradient in place of kept."""

    @staticmethod
    def forward(
        ctx: Any,
        features1: Float[Tensor, "n c"],
        features2: Float[Tensor, "m c"],
        rows: Int[Tensor, "n side"],
        columns: Int[Tensor, "n side"],
    ) -> Float[Tensor, "n side side"]:
        ctx.save_for_backward(features1, features2, rows, columns)
        n, side = rows.shape
        values = features1.new_empty(n, side * side, 1)
        for part, pixels in _chunks(rows, columns, features1):
            windows = features2.index_select(0, pixels).view(-1, side * side, features1.shape[1])
            torch.bmm(windows, features1[part, :, None], out=values[part])
        return values.view(n, side, side)

    @staticmethod
    def backward(ctx: Any, gradient: Float[Tensor, "n side side"]) -> tuple[Tensor, Tensor, None, None]:
        features1, features2, rows, columns = ctx.saved_tensors
        c = features1.shape[1]
        gradient = gradient.flatten(1)
        gradient1, gradient2 = torch.empty_like(features1), torch.zeros_like(features2)
        for part, pixels in _chunks(rows, columns, features1):
            windows = features2.index_select(0, pixels).view(-1, gradient.shape[1], c)
            gradient1[part] = torch.bmm(gradient[part, None, :], windows)[:, 0]
            outer = gradient[part, :, None] * features1[part, None, :]
            gradient2.index_add_(0, pixels, outer.view(-1, c))
        return gradient1, gradient2, None, None


def _chunks(
    rows: Int[Tensor, "n side"], columns: Int[Tensor, "n side"], features: Float[Tensor, "n c"]
) -> Iterator[tuple[slice, Int[Tensor, " k"]]]:
    """Yield slices of the pixels of frame 1, with the pixels of frame 2 in their windows."""
    limit = _CPU_BYTES if features.device.type == "cpu" else _GPU_BYTES
    size = max(1, limit // (columns.shape[1] ** 2 * features.shape[1] * features.element_size()))
    for first in range(0, len(features), size):
        part = slice(first, first + size)
        yield part, (rows[part, :, None] + columns[part, None, :]).flatten()
