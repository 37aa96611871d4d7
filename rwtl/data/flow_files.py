"""Middlebury `.flo` files, read and written, and 8-bit images; what every reader of flow files shares."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image

from rwtl.errors import InputError

_FLO_MAGIC = b"PIEH"  # the float32 202021.25, little-endian
_FLO_HEADER_BYTES = 12
_FLO_MAX_SIDE = 99_999  # the limit of the Middlebury reference code: a larger side means a damaged header


def read_flo(path: str | Path) -> Float32[np.ndarray, "2 h w"]:
    """Read a Middlebury `.flo` file.

    The file holds the magic `PIEH`, width and height as int32, then u and v interleaved as float32, row by row from the
    top, all little-endian (Baker et al., "A Database and Evaluation Methodology for Optical Flow", IJCV 2011).

    Args:
        path: The file.

    Returns:
        Displacement in px: `[0]` is u, x to the right; `[1]` is v, y down; row 0 is the top of the image. Unknown flow
        is marked by absolute values above 1e9, as in the file.

    Raises:
        InputError: The file is missing, is not a `.flo` file, has an impossible size, holds fewer or more bytes than
            its header says, or holds a value that is not finite.
    """
    path = Path(path)
    content = read_bytes(path)
    if content[:4] != _FLO_MAGIC:
        raise InputError(
            f"{path}: begins with {content[:4]!r}, a .flo file with {_FLO_MAGIC!r}; "
            "check that it is a Middlebury .flo file, or download it again."
        )
    if len(content) < _FLO_HEADER_BYTES:
        raise InputError(
            f"{path}: {len(content)} bytes found, {_FLO_HEADER_BYTES} expected for the header alone; download it again."
        )
    width, height = (int(side) for side in np.frombuffer(content, "<i4", count=2, offset=4))
    if not (1 <= width <= _FLO_MAX_SIDE and 1 <= height <= _FLO_MAX_SIDE):
        raise InputError(
            f"{path}: its header gives a size of {width}x{height} px (width x height), each side must be "
            f"1 to {_FLO_MAX_SIDE}; the file is damaged, download it again."
        )
    expected = _FLO_HEADER_BYTES + 8 * width * height
    if len(content) != expected:
        raise InputError(
            f"{path}: {len(content)} bytes found, {expected} expected for {width}x{height} px (width x height); "
            "download it again."
        )
    interleaved = np.frombuffer(content, "<f4", offset=_FLO_HEADER_BYTES).reshape(height, width, 2)
    flow = np.ascontiguousarray(interleaved.transpose(2, 0, 1), dtype=np.float32)
    check_finite(flow, path)
    return flow


def write_flo(path: str | Path, flow: Float32[np.ndarray, "2 h w"]) -> None:
    """Write a Middlebury `.flo` file, the inverse of `read_flo`.

    Args:
        path: The file; an existing one is replaced.
        flow: Displacement in px: `[0]` is x to the right, `[1]` is y down; row 0 is the top of the image.

    Raises:
        InputError: The flow holds a value that is not finite, or has a side that the format does not allow.
    """
    path = Path(path)
    _, height, width = flow.shape
    if not (1 <= width <= _FLO_MAX_SIDE and 1 <= height <= _FLO_MAX_SIDE):
        raise InputError(
            f"{path}: the flow is {width}x{height} px (width x height), each side must be 1 to {_FLO_MAX_SIDE}; "
            "crop it before writing."
        )
    check_finite(flow, path)
    header = _FLO_MAGIC + np.array([width, height], "<i4").tobytes()
    path.write_bytes(header + flow.transpose(1, 2, 0).astype("<f4").tobytes())


def read_image(path: str | Path) -> Float32[np.ndarray, "3 h w"]:
    """Read an 8-bit PPM, PNG or JPEG image; grey images give three equal channels.

    Args:
        path: The file.

    Returns:
        RGB, 0..255, row 0 at the top.

    Raises:
        InputError: The file is missing, damaged or of another format, or is not 8-bit grey, palette or RGB.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such image file; check the path.")
    try:
        with Image.open(path, formats=("PPM", "PNG", "JPEG")) as image:
            mode = image.mode
            pixels = np.asarray(image.convert("RGB"))
    # Pillow's decoders report damage by any of these.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path}: {path.stat().st_size} bytes that cannot be read as a PPM, PNG or JPEG image ({error}); "
            "convert it to one of these, or download it again."
        ) from error
    # Other modes would be clipped (16 bits) or would lose a channel (alpha) without a word.
    if mode not in ("L", "P", "RGB"):
        raise InputError(f"{path}: image mode {mode}, expected 8-bit grey, palette or RGB; convert it to 8-bit RGB.")
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)


def read_bytes(path: Path) -> bytes:
    """Return what a flow file holds; an InputError names one that cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a flow file ({error.strerror}); check the path.") from error


def check_finite(flow: Float32[np.ndarray, "2 h w"], path: Path) -> None:
    """Raise an InputError that names the file and the first value of its flow that is not finite, if there is one."""
    finite = np.isfinite(flow)
    if not finite.all():
        channel, row, column = (int(i) for i in np.argwhere(~finite)[0])
        raise InputError(
            f"{path}: {np.count_nonzero(~finite)} flow values are not finite, the first is "
            f"{flow[channel, row, column]} at channel {channel}, row {row}, column {column}; "
            "mark unknown flow by a value above 1e9 instead."
        )
