"""Correlation of all pairs of pixels and its lookup (RAFT, section 3.2): the volume in memory, or windows on demand.

Two classes do the same: `AllPairsCorrelation` here, and `OnDemandCorrelation`, which never holds the volume.
Each prepares two feature maps once and is then asked for windows in every iteration.

Memory grows with the number of pixels, not with its square. Pooling and dot product are both linear, so that a level of
the pyramid is the correlation with pooled features (as in the official `alternate_corr`), and its lookup is the same.
"""

import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

CorrelationKind = Literal["all_pairs", "on_demand"]
# Gathered windows that are held at a time: on a CPU they should stay in its cache, on a GPU they should fill it.
_CPU_BYTES = 8 * 2**20
_GPU_BYTES = 256 * 2**20


class Windows(NamedTuple):
    """Pixels of the windows around n points; a window of side s between pixels needs s + 1 pixels each way.

    Attributes:
        rows, columns: pixel coordinates, moved to the nearest of the map where they lie outside.
        inside: whether a pixel lies in the map.
        fraction: of a pixel by which the window lies to the right of and below its first pixel: x, y.
    """

    rows: Int[Tensor, "n side"]
    columns: Int[Tensor, "n side"]
    inside: Bool[Tensor, "n side side"]
    fraction: Float[Tensor, "2 n"]


def windows_around(points: Float[Tensor, "n 2"], radius: int, height: int, width: int) -> Windows:
    """Return the windows of side 2·radius + 1 around `points` (x, y), in pixels of a map of that size."""
    corner = points.floor()
    steps = torch.arange(-radius, radius + 2, device=points.device)
    columns, rows = corner.long().unsqueeze(2).add(steps).unbind(1)  # (n, side + 1) each
    inside_x, inside_y = (columns >= 0) & (columns < width), (rows >= 0) & (rows < height)
    return Windows(
        rows.clamp(0, height - 1),
        columns.clamp(0, width - 1),
        inside_y[:, :, None] & inside_x[:, None, :],
        (points - corner).T.contiguous(),
    )


def between_pixels(values: Float[Tensor, "n side side"], windows: Windows) -> Float[Tensor, "n window"]:
    """Interpolate bilinearly between the pixels of each window (y, x), zero where they lie outside the map.

    In what is returned x is the slow index: place i·s + j is i to the right and j down, the order that official
    checkpoints were trained with.
    """
    x, y = windows.fraction[:, :, None, None]
    values = values * windows.inside
    values = torch.lerp(values[:, :, :-1], values[:, :, 1:], x)
    values = torch.lerp(values[:, :-1], values[:, 1:], y)
    return values.transpose(1, 2).flatten(1)


class Correlation(nn.Module):
    """What RAFT asks of a correlation; the two classes below do it.

    Args:
        levels: number of pyramid levels, each half the resolution of the one before.
        radius: half the window's side; a window holds (2·radius + 1)² values per level.
    """

    def __init__(self, levels: int = 4, radius: int = 4):
        super().__init__()
        self.levels = levels
        self.radius = radius
        self.out_channels = levels * (2 * radius + 1) ** 2

    def prepare(self, features1: Tensor, features2: Tensor) -> list[Tensor]:
        """Return what all lookups share, for feature maps (b, c, h, w)."""
        raise NotImplementedError

    def lookup(self, prepared: list[Tensor], coordinates: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the windows (b, out_channels, h, w) around coordinates (b, 2, h, w) in pixels of the feature map.

        Also return what the next lookup is to be given in place of `prepared`.
        """
        raise NotImplementedError


def pixel_grid(batch: int, height: int, width: int, device: torch.device) -> Float[Tensor, "b 2 h w"]:
    """Return the coordinates of every pixel, channel 0 = x (column), channel 1 = y (row), in pixels."""
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return torch.stack((x, y)).float().expand(batch, 2, height, width)


def sample_at(
    images: Float[Tensor, "b c h w"], points: Float[Tensor, "b h2 w2 2"], padding_mode: str = "zeros"
) -> Float[Tensor, "b c h2 w2"]:
    """Sample bilinearly at `points` (x, y) in pixels; outside the image is zero, or the `border`.

    The same numbers as RAFT's sampler, but for images of height or width 1, where RAFT's gives NaN.
    """
    size = points.new_tensor((images.shape[-1], images.shape[-2]))
    return F.grid_sample(images, (2 * points + 1) / size - 1, padding_mode=padding_mode, align_corners=False)


def halve(maps: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n h2 w2"]:
    """Average 2×2 pixels, the last odd row and column left out, as officially.

    A map of one row or column cannot be halved along it, and stands for all coarser ones too.
    """
    kernel = (min(2, maps.shape[-2]), min(2, maps.shape[-1]))
    return F.avg_pool2d(maps, kernel, stride=kernel)


class AllPairsCorrelation(Correlation):
    """Builds the correlation pyramid of two feature maps and looks up windows in it."""

    def prepare(
        self, features1: Float[Tensor, "b c h w"], features2: Float[Tensor, "b c h w"]
    ) -> list[Float[Tensor, "n _h _w"]]:
        """Return the volume of scaled dot products, pooled over its last two axes; n = b·h·w."""
        b, c, h, w = features1.shape
        # Scaling the features, not the volume, saves a copy of the volume.
        scaled = features1.flatten(2).transpose(1, 2) / math.sqrt(c)  # (b, h·w, c)
        volume = scaled @ features2.flatten(2)  # (b, h·w, h·w)
        levels = [volume.reshape(b * h * w, h, w)]
        for _ in range(self.levels - 1):
            levels.append(halve(levels[-1]))
        return levels

    def lookup(
        self, prepared: list[Float[Tensor, "n _h _w"]], coordinates: Float[Tensor, "b 2 h w"]
    ) -> tuple[Float[Tensor, "b k h w"], list[Float[Tensor, "n _h _w"]]]:
        """Return the windows around `coordinates` (pixels of the finest level) of every level, concatenated.

        In each window x is the slow index: channel i·(2r+1) + j holds x-offset i - r and y-offset j - r.
        """
        b, _, h, w = coordinates.shape
        centre = coordinates.permute(0, 2, 3, 1).reshape(-1, 2)
        looked_up, passed_on = [], []
        for level, volume in enumerate(prepared):
            height, width = volume.shape[-2:]
            windows = windows_around(centre / 2**level, self.radius, height, width)
            values, volume = _Gather.apply(volume, windows.rows * width, windows.columns)
            looked_up.append(between_pixels(values, windows))
            passed_on.append(volume)
        return torch.cat(looked_up, dim=1).view(b, h, w, -1).permute(0, 3, 1, 2).contiguous(), passed_on


class _Gather(torch.autograd.Function):
    """Values of a volume, and the volume passed on.

    Lookups that take the volume from one another pass one gradient back along the same chain, to which each adds its
    few values in place. Lookups of one volume side by side would each fill another gradient of the whole volume.
    """

    @staticmethod
    def forward(
        ctx: Any, volume: Float[Tensor, "n h w"], rows: Int[Tensor, "n side"], columns: Int[Tensor, "n side"]
    ) -> tuple[Float[Tensor, "n side side"], Float[Tensor, "n h w"]]:
        ctx.save_for_backward(rows, columns)  # of the window's pixels there are many more
        ctx.shape = volume.shape
        ctx.set_materialize_grads(False)
        n, side = rows.shape
        values = volume.flatten(1).gather(1, _pixels(rows, columns)).view(n, side, side)
        return values, volume.view_as(volume)

    @staticmethod
    def backward(ctx: Any, of_values: Tensor | None, of_volume: Tensor | None) -> tuple[Tensor | None, None, None]:
        if of_values is None:
            return of_volume, None, None
        if of_volume is None:  # of the last lookup
            of_volume = of_values.new_zeros(ctx.shape)
        of_volume.flatten(1).scatter_add_(1, _pixels(*ctx.saved_tensors), of_values.flatten(1))
        return of_volume, None, None


def _pixels(rows: Int[Tensor, "n side"], columns: Int[Tensor, "n side"]) -> Int[Tensor, "n pixels"]:
    """Where the pixels of each window lie in a flattened map; `rows` say where a row begins."""
    return (rows[:, :, None] + columns[:, None, :]).flatten(1)


class OnDemandCorrelation(Correlation):
    """The same numbers as `AllPairsCorrelation`, forward and backward, without ever holding the volume."""

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
        yield part, _pixels(rows[part], columns[part]).flatten()
