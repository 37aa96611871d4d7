"""Pictures of a flow: in colour with its legend, as arrows over the frame, the second frame warped back, and errors."""

from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8

from rwtl.flow.colour_wheel import NOT_FINITE, colour_wheel, flow_to_colour
from rwtl.flow.sample import UNKNOWN
from rwtl.models.next_frame import warp

_ARROWS = 32  # along the longer side of a frame
_LEGEND = 0.16  # of the shorter side of a frame


def in_colour(flow: Float32[np.ndarray, "2 h w"], longest: float | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """Return a flow field in colour, with the wheel in its corner and the length, in px, that has full colour.

    Args:
        flow: in px; unknown where it is not finite, or above 1e9.
        longest: the length with full colour, px; None for the one that 1 % of this field exceed, in darker colours.
    """
    if longest is None:
        lengths = np.hypot(*flow)[(np.abs(flow) <= UNKNOWN).all(axis=0)]
        longest = float(np.quantile(lengths, 0.99)) if len(lengths) else 0.0
        longest = longest or 1.0
    return _with_legend(flow_to_colour(flow, longest), longest)


def _with_legend(picture: UInt8[np.ndarray, "h w 3"], longest: float) -> UInt8[np.ndarray, "h w 3"]:
    side = round(_LEGEND * min(picture.shape[:2]))
    if side < 12:  # too small to be seen
        return picture
    picture[:side, :side] = colour_wheel(side)
    size = max(0.3, side / 110)
    text, at = f"{longest:.3g} px", (side + 4, round(0.6 * side))
    for colour, thickness in ((255, 3), (0, 1)):
        cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, (colour,) * 3, thickness, cv2.LINE_AA)
    return picture


def with_arrows(image: Float32[np.ndarray, "3 h w"], flow: Float32[np.ndarray, "2 h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Return a frame, pale, with the flow of evenly spaced pixels as arrows in its colours, to where it points."""
    grey = image.mean(axis=0)
    picture = np.repeat((127 + grey / 2).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    colours = (0.75 * flow_to_colour(flow)).astype(np.uint8)
    step = max(8, max(picture.shape[:2]) // _ARROWS)
    for row in range(step // 2, picture.shape[0], step):
        for column in range(step // 2, picture.shape[1], step):
            u, v = flow[:, row, column]
            end = (round(column + float(u)), round(row + float(v)))
            colour = tuple(map(int, colours[row, column]))
            cv2.arrowedLine(picture, (column, row), end, colour, 1, cv2.LINE_AA, tipLength=0.3)
    return picture


def warped_back(image2: Float32[np.ndarray, "3 h w"], flow: Float32[np.ndarray, "2 h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Return the second frame, sampled where the flow of each pixel of the first one points: like the first frame, but
    for what is hidden in one of them."""
    back = warp(torch.from_numpy(image2)[None], torch.from_numpy(flow)[None])[0].numpy()
    return np.ascontiguousarray(back.transpose(1, 2, 0).round().clip(0, 255).astype(np.uint8))


def occluded(forward: Float32[np.ndarray, "2 h w"], backward: Float32[np.ndarray, "2 h w"]) -> Bool[np.ndarray, "h w"]:
    """Return which pixels of the first frame are hidden in the second, as far as the two flows tell.

    Where a pixel is seen in both, the flow back from where it went is the opposite of its own: |f + b|² is below
    0.01 (|f|² + |b|²) + 0.5 (Sundaram, Brox and Keutzer, ECCV 2010). Where it leaves the frame it is hidden.

    Args:
        forward: from the first frame to the second, px.
        backward: from the second to the first, px.
    """
    height, width = forward.shape[1:]
    there, back = torch.from_numpy(forward)[None], torch.from_numpy(backward)[None]
    met = warp(back, there)[0].numpy()
    lengths = (forward**2).sum(0) + (met**2).sum(0)
    differ = ((forward + met) ** 2).sum(0) >= 0.01 * lengths + 0.5
    y, x = np.mgrid[:height, :width]
    column, row = x + forward[0], y + forward[1]
    left = (column < 0) | (column > width - 1) | (row < 0) | (row > height - 1)
    return differ | left


def errors_in_colour(
    error: Float32[np.ndarray, "h w"], known: Bool[np.ndarray, "h w"]
) -> tuple[UInt8[np.ndarray, "h w 3"], float]:
    """Return a map of end-point errors, and the error, in px, from which on it is palest: 1 % are above it.

    Black is no error, or none that is known; green is one that is not finite.
    """
    finite = known & np.isfinite(error)
    most = float(np.quantile(error[finite], 0.99)) if finite.any() else 0.0
    most = most or 1.0
    shade = np.where(finite, error / most, 0).clip(0, 1)
    picture = cv2.applyColorMap((255 * shade).astype(np.uint8), cv2.COLORMAP_MAGMA)[..., ::-1].copy()
    picture[~known] = 0
    picture[known & ~finite] = NOT_FINITE
    return picture, most


def write_picture(file: Path, picture: UInt8[np.ndarray, "h w 3"]) -> None:
    """Write RGB as PNG, whatever the name of the file ends in."""
    _, content = cv2.imencode(".png", picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    file.write_bytes(content.tobytes())
