"""The usual colour code of optical flow: hue is direction, saturation is length.

The code of Baker et al., "A Database and Evaluation Methodology for Optical Flow", IJCV 2011, whose wheel leaves out
the hues that people tell apart badly.
"""

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from rwtl.errors import InputError
from rwtl.flow.sample import UNKNOWN

# Hues at which the wheel changes direction in RGB, and how many of its 55 steps lead to the next one.
_CORNERS = np.array([[255, 0, 0], [255, 255, 0], [0, 255, 0], [0, 255, 255], [0, 0, 255], [255, 0, 255], [255, 0, 0]])
_STEPS = (15, 6, 4, 11, 13, 6)  # red-yellow, yellow-green, green-cyan, cyan-blue, blue-magenta, magenta-red
_TOO_LONG_DIMMING = 0.75
# RGB of an error, or a predicted frame, that is not finite: green, which no colour map of errors or of calcium holds.
NOT_FINITE = (0, 255, 0)


def flow_to_colour(
    flow: Float32[np.ndarray, "2 h w"], max_magnitude: float | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Colour a flow field: white is no motion, full colour is `max_magnitude`, darker colours are longer.

    Args:
        flow: Displacement in px: `[0]` is x to the right, `[1]` is y down. Values that are not finite or exceed 1e9
            count as unknown.
        max_magnitude: Length in px that gets full colour, above 0; None takes the longest known displacement of this
            field. Give it to make two fields comparable.

    Returns:
        RGB; unknown flow is black.

    Raises:
        InputError: `max_magnitude` is not finite, or not above 0.
    """
    if max_magnitude is not None and not 0 < max_magnitude < np.inf:
        raise InputError(
            f"max_magnitude={max_magnitude} px must be finite and above 0; leave it out to use the field's longest."
        )
    known = (np.abs(flow) <= UNKNOWN).all(axis=0)
    u, v = np.where(known, flow, 0.0).astype(np.float64)
    magnitude = np.hypot(u, v)
    if max_magnitude is None:
        max_magnitude = float(magnitude.max(initial=0.0)) or 1.0  # a still field is white at any scale
    length = (magnitude / max_magnitude)[..., None]
    hue = _hue(np.arctan2(-v, -u))
    colour = np.where(length <= 1, 1 - length * (1 - hue), _TOO_LONG_DIMMING * hue)
    return np.where(known[..., None], np.floor(255 * colour), 0).astype(np.uint8)


def colour_wheel(diameter: int) -> UInt8[np.ndarray, "d d 3"]:
    """Draw the legend of `flow_to_colour`: each pixel of the disc has the colour of the displacement to it.

    Args:
        diameter: Side of the picture in px, at least 2; the rim of the disc is the length with full colour.

    Returns:
        RGB; white outside the disc.

    Raises:
        InputError: `diameter` is below 2.
    """
    if diameter < 2:
        raise InputError(f"diameter={diameter} px must be at least 2.")
    axis = np.linspace(-1, 1, diameter, dtype=np.float32)
    flow = np.stack(np.meshgrid(axis, axis))
    wheel = flow_to_colour(flow, max_magnitude=1.0)
    wheel[np.hypot(*flow) > 1] = 255
    return wheel


def _hue(angle: Float64[np.ndarray, "h w"]) -> Float64[np.ndarray, "h w 3"]:
    """Fully saturated RGB in 0..1 of an angle in -pi..pi, interpolated between the wheel's 55 colours."""
    # Steps are cut to whole grey values as in the reference code, so that its pictures and these agree.
    wheel = np.concatenate(
        [
            start + (end - start) // 255 * np.floor(255 * np.arange(steps) / steps)[:, None]
            for start, end, steps in zip(_CORNERS[:-1], _CORNERS[1:], _STEPS, strict=True)
        ]
    )
    position = (angle / np.pi + 1) / 2 * (len(wheel) - 1)
    lower = np.floor(position).astype(int)
    fraction = (position - lower)[..., None]
    upper = (lower + 1) % len(wheel)
    return ((1 - fraction) * wheel[lower] + fraction * wheel[upper]) / 255
