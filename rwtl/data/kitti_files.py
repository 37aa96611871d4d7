"""Optical flow as 16-bit PNG, the format of KITTI and HD1K."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from rwtl.data.flow_files import check_finite
from rwtl.data.png16 import read_png16, write_png16
from rwtl.errors import InputError

_ZERO = 2**15  # the value that stands for no motion
_STEPS = 64  # steps of one pixel


def read_kitti_flow(path: str | Path) -> tuple[Float32[np.ndarray, "2 h w"], Float32[np.ndarray, "h w"]]:
    """Read a flow file of KITTI or HD1K: red and green hold 64·u + 2^15 and 64·v + 2^15, blue says whether it is known.

    Source: the development kit of KITTI 2015 (Menze and Geiger, "Object Scene Flow for Autonomous Vehicles", 2015).

    Args:
        path: The file.

    Returns:
        Displacement in px (`[0]` is x to the right, `[1]` is y down; 0 where it is not known), and 1.0 where it is
        known, elsewhere 0.0. Row 0 is the top of the image.

    Raises:
        InputError: The file is missing, damaged or no 16-bit RGB PNG.
    """
    pixels = read_png16(path)
    known = pixels[..., 2] > 0
    flow = (pixels[..., :2].transpose(2, 0, 1).astype(np.float32) - _ZERO) / _STEPS
    return np.where(known, flow, np.float32(0)), known.astype(np.float32)


def write_kitti_flow(path: str | Path, flow: Float32[np.ndarray, "2 h w"], known: Float32[np.ndarray, "h w"]) -> None:
    """Write a flow file as KITTI and HD1K have them, rounded to 1/64 px.

    Args:
        path: The file; an existing one is replaced.
        flow: Displacement in px: `[0]` is x to the right, `[1]` is y down; row 0 is the top of the image.
        known: 1 where the flow is known; elsewhere 0, and the flow there is not written.

    Raises:
        InputError: A known displacement is not finite or lies outside -512 to 511.98 px, which the format cannot hold.
    """
    path = Path(path)
    flow = np.where(known > 0, flow, np.float32(0))
    check_finite(flow, path)
    values = np.rint(flow.astype(np.float64) * _STEPS) + _ZERO
    outside = (values < 0) | (values > 65535)
    if outside.any():
        channel, row, column = (int(i) for i in np.argwhere(outside)[0])
        raise InputError(
            f"{path}: {np.count_nonzero(outside)} flow values lie outside -512 to 511.98 px, which is what the format "
            f"holds; the first is {flow[channel, row, column]} at channel {channel}, row {row}, column {column}. "
            "Check the flow, or write a .flo file."
        )
    pixels = np.zeros((*known.shape, 3), np.uint16)
    pixels[..., :2] = np.where(known > 0, values, 0).transpose(1, 2, 0)
    pixels[..., 2] = known > 0
    write_png16(path, pixels)
