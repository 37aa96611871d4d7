"""Square windows around points that lie between pixels: what both ways to look up the correlation share."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


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
