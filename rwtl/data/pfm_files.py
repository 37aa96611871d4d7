"""PFM files, in which FlyingThings3D keeps its optical flow."""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from rwtl.data.flow_files import check_finite, read_bytes
from rwtl.errors import InputError

_HEADER = re.compile(rb"PF\s+(\d{1,5})\s+(\d{1,5})\s+([-+.\deE]{1,20})\r?\n")
_LONGEST_HEADER = 64  # bytes


def read_pfm(path: str | Path) -> Float32[np.ndarray, "2 h w"]:
    """Read the optical flow in a colour PFM file.

    The file holds `PF`, width and height, and a scale as text, then three float32 for each pixel, row by row from the
    bottom; a negative scale means little-endian (Debevec's format, as in Mayer et al., "A Large Dataset to Train
    Convolutional Networks for Disparity, Optical Flow, and Scene Flow Estimation", CVPR 2016).

    Args:
        path: The file.

    Returns:
        Displacement in px: `[0]` is the file's first channel, x to the right; `[1]` is the second, y down; row 0 is the
        top of the image. The third channel is not read.

    Raises:
        InputError: The file is missing, is not a colour PFM file, has a scale other than 1 or -1, holds fewer or more
            bytes than its header says, or holds a flow that is not finite.
    """
    path = Path(path)
    content = read_bytes(path)
    header = _HEADER.match(content[:_LONGEST_HEADER])
    if not header:
        raise InputError(
            f"{path}: begins with {content[:24]!r}, a PFM file of flow with lines such as 'PF', '960 540' and '-1.0' "
            "(three channels, width and height, byte order); check that it is one, or download it again."
        )
    width, height = int(header[1]), int(header[2])
    scale = _number(header[3])
    # Other readers disagree on whether a scale multiplies the values; flow files do not use it.
    if abs(scale) != 1:
        raise InputError(
            f"{path}: scale {header[3].decode()}, expected -1 or 1; write its values in px, with that scale."
        )
    if not (width and height):
        raise InputError(f"{path}: its header gives a size of {width}x{height} px (width x height); download it again.")
    expected = header.end() + 12 * width * height
    if len(content) != expected:
        raise InputError(
            f"{path}: {len(content)} bytes found, {expected} expected for {width}x{height} px (width x height); "
            "download it again."
        )
    order = "<f4" if scale < 0 else ">f4"
    pixels = np.frombuffer(content, order, offset=header.end()).reshape(height, width, 3)
    flow = np.ascontiguousarray(pixels[::-1, :, :2].transpose(2, 0, 1), dtype=np.float32)
    check_finite(flow, path)
    return flow


def write_pfm(path: str | Path, flow: Float32[np.ndarray, "2 h w"]) -> None:
    """Write a little-endian colour PFM file whose third channel is 0, the inverse of `read_pfm`.

    Args:
        path: The file; an existing one is replaced.
        flow: Displacement in px: `[0]` is x to the right, `[1]` is y down; row 0 is the top of the image.

    Raises:
        InputError: The flow holds a value that is not finite.
    """
    path = Path(path)
    check_finite(flow, path)
    _, height, width = flow.shape
    pixels = np.zeros((height, width, 3), "<f4")
    pixels[..., :2] = flow.transpose(1, 2, 0)[::-1]
    path.write_bytes(f"PF\n{width} {height}\n-1.0\n".encode() + pixels.tobytes())


def _number(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")  # which is no scale either
