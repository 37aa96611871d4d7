"""Random outlines, by the distance from a centre to the edge in each direction: the shapes of `procedural_flow`."""

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from rwtl.data.procedural_draws import Draws

_ANGLES = 512
_TURN = np.float32(2 * np.pi)
_DIRECTIONS = np.linspace(-np.pi, np.pi, _ANGLES + 1, dtype=np.float32)


def random_outlines(
    draws: Draws, radius: Float64[np.ndarray, "scenes layers"]
) -> Float32[np.ndarray, "scenes layers angles"]:
    """Draw an ellipse, a regular polygon, or a blob with waves around it for each layer.

    Args:
        draws: Where the random values come from.
        radius: Distance of the farthest point of the edge, in px; 0 or less for a layer that needs no outline.

    Returns:
        Distance from the centre to the edge in px at equal steps of direction, from -pi to pi with both ends;
        -1 all around, which covers nothing, for a layer that needs no outline.
    """
    start, kind, aspect, corners, *waved = draws.uniform(10).astype(np.float32)
    kind = np.where(radius > 0, np.floor(3 * kind), -1)
    outlines = np.full((*radius.shape, _ANGLES + 1), -1.0, np.float32)
    for number in range(3):
        chosen = np.nonzero(kind == number)
        if not len(chosen[0]):
            continue
        around = _DIRECTIONS + _TURN * start[chosen][:, None]
        match number:
            case 0:
                flat = 0.35 + 0.65 * aspect[chosen][:, None]
                outline = flat / np.hypot(flat * np.cos(around), np.sin(around))
            case 1:
                sector = _TURN / np.floor(3 + 4 * corners[chosen][:, None])
                outline = np.cos(sector / 2) / np.cos(np.mod(around, sector) - sector / 2)
            case _:
                outline = 1.0
                for waves, depth, phase in (waved[:3], waved[3:]):
                    turns = around * np.floor(2 + 5 * waves[chosen][:, None]) + _TURN * phase[chosen][:, None]
                    outline = outline + (0.1 + 0.2 * depth[chosen][:, None]) * np.cos(turns)
        outlines[chosen] = (radius[chosen] / outline.max(axis=-1))[:, None] * outline
    return outlines


def outline_cover(
    outline: Float32[Tensor, "scenes angles"], points: Float[Tensor, "scenes frames 2 h w"]
) -> Float[Tensor, "scenes frames h w"]:
    """How much of the pixel at each point lies inside an outline.

    Args:
        outline: Distance to the edge by direction, as `random_outlines` gives it.
        points: To the right of the centre and down from it, in px.

    Returns:
        0..1, with an edge one px wide along the direction from the centre.
    """
    x, y = points.unbind(2)
    position = torch.atan2(y, x).mul_(_ANGLES / (2 * np.pi)).add_(_ANGLES / 2).round_().long()
    edge = outline.gather(1, position.flatten(1)).view(x.shape)
    return edge.sub_(torch.hypot(x, y)).add_(0.5).clamp_(0, 1)
