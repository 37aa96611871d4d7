"""Random outlines, by the distance from a centre to the edge in each direction: the shapes of `procedural_flow`."""

import numpy as np
from jaxtyping import Float32

_ANGLES = 512


def random_outline(rng: np.random.Generator, radius: float) -> Float32[np.ndarray, "angles"]:
    """Draw an ellipse, a regular polygon, or a blob with waves around it.

    Args:
        rng: Where the random values come from.
        radius: Distance of the farthest point of the edge, in px.

    Returns:
        Distance from the centre to the edge in px at equal steps of direction, from -pi to pi with both ends.
    """
    angles = np.linspace(-np.pi, np.pi, _ANGLES + 1)
    turned = angles + rng.uniform(0, 2 * np.pi)
    match rng.integers(3):
        case 0:
            aspect = rng.uniform(0.35, 1)
            outline = aspect / np.hypot(aspect * np.cos(turned), np.sin(turned))
        case 1:
            sector = 2 * np.pi / rng.integers(3, 7)
            outline = np.cos(sector / 2) / np.cos(np.mod(turned, sector) - sector / 2)
        case _:
            waves = rng.integers(2, 7, 2)
            depths, phases = rng.uniform(0.1, 0.3, 2), rng.uniform(0, 2 * np.pi, 2)
            outline = 1 + (depths * np.cos(turned[:, None] * waves + phases)).sum(axis=1)
    return (radius * outline / outline.max()).astype(np.float32)


def outline_cover(
    outline: Float32[np.ndarray, "angles"], x: Float32[np.ndarray, "h w"], y: Float32[np.ndarray, "h w"]
) -> Float32[np.ndarray, "h w"]:
    """How much of the pixel at each point lies inside an outline.

    Args:
        outline: Distance to the edge by direction, as `random_outline` gives it.
        x: To the right of the centre, in px.
        y: Down from the centre, in px.

    Returns:
        0..1, with an edge one px wide along the direction from the centre.
    """
    position = (np.arctan2(y, x) + np.float32(np.pi)) * np.float32(_ANGLES / (2 * np.pi))
    edge = outline[np.rint(position).astype(np.int64)]
    return np.clip(edge - np.hypot(x, y) + np.float32(0.5), 0, 1)
