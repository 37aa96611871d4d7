"""Files of flow and images: .flo, PFM and KITTI's 16-bit PNG are read and written, images are read."""

import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt16
from PIL import Image, ImageOps

from rwtl.errors import InputError
from rwtl.flow.sample import UNKNOWN

_FORMATS = ("PPM", "PNG", "JPEG", "BMP", "WEBP", "TIFF")  # Pillow's names
_ORIENTATION = 0x0112  # EXIF's tag
_LAST_UNTURNED = 4  # of its values: those above swap height and width
_FLO_MAGIC = b"PIEH"  # the float32 202021.25, little-endian
_FLO_HEADER_BYTES = 12
MAX_PIXELS = 2**25  # of an image, somewhat more than 8K has: RAFT's correlations of it would take 10¹² bytes
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
    """Read an 8-bit PPM, PNG, JPEG, BMP, WebP or TIFF image; grey images give three equal channels.

    Args:
        path: The file.

    Returns:
        RGB, 0..255, row 0 at the top, turned as the file's EXIF orientation says.

    Raises:
        InputError: The file is missing, damaged or of another format, has more than MAX_PIXELS or more than one
            picture, or is not 8-bit grey, palette or RGB.
    """
    path = Path(path)
    with _opened(path) as image:
        return np.ascontiguousarray(np.asarray(_upright(image).convert("RGB")).transpose(2, 0, 1), dtype=np.float32)


def image_size(path: Path) -> tuple[int, int]:
    """Return height and width of an image, of which only the header is read; raise InputError as `read_image` does."""
    with suppress(OSError):  # of what is not there the error is said below
        return _image_size(path, path.stat().st_mtime_ns)
    return _image_size(path, 0)


@cache
def _image_size(path: Path, changed: int) -> tuple[int, int]:
    """Return the size of an image; a sweep asks for it again with each of its jobs."""
    with _opened(path) as image:
        width, height = image.size
        turned = _orientation(image) > _LAST_UNTURNED and image.format != "TIFF"  # whose size Pillow has turned itself
        return (width, height) if turned else (height, width)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image, and refuse by its header what would lose something in being read, without a word."""
    if not path.is_file():
        raise InputError(f"{path}: no such image file; check the path.")
    try:
        with Image.open(path, formats=_FORMATS) as image:
            _require_size(path, *image.size)
            if _is_deep(image):
                raise InputError(
                    f"{path}: more than 8 bits a channel, where a frame has 8; convert it to 8-bit RGB. (A PNG of "
                    "16-bit RGB may be a flow file of KITTI's: check the path.)"
                )
            if image.mode not in ("L", "P", "RGB"):
                raise InputError(
                    f"{path}: image mode {image.mode}, expected 8-bit grey, palette or RGB; convert it to 8-bit RGB."
                )
            if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:  # a camera's MPO is a JPEG with previews
                raise InputError(f"{path}: holds {image.n_frames} pictures, where a frame is one; save each as a file.")
            yield image
    except InputError:
        raise
    # Pillow's decoders report damage by any of these.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path}: {path.stat().st_size} bytes that cannot be read as a PPM, PNG, JPEG, BMP, WebP or TIFF image "
            f"({error}); convert it to one of these, or download it again."
        ) from error


def _is_deep(image: Image.Image) -> bool:
    """Whether the file holds more than 8 bits a channel, which Pillow cuts off: of RGB its mode does not tell."""
    if image.mode.startswith(("I", "F")):
        return True
    for part in image.tile:  # how Pillow would decode it: such as ("zip", …, "RGB;16B") or ("ppm", …, ("RGB", 65535))
        told = part[3] if isinstance(part[3], tuple) else (part[3],)
        if image.format != "BMP" and any("16" in each for each in told if isinstance(each, str)):
            return True
        if part[0].startswith("ppm") and told[-1] > 255:
            return True
    return False


def _orientation(image: Image.Image) -> int:
    return Image.Image.getexif(image).get(_ORIENTATION, 1)  # Pillow's own for PNG would decode the pixels to look there


def _upright(image: Image.Image) -> Image.Image:
    return ImageOps.exif_transpose(image) if _orientation(image) != 1 else image


def _require_size(path: Path, width: int, height: int) -> None:
    """Refuse an image before it is decoded: a small file may hold more pixels than there is memory for."""
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{path}: {width}x{height} px (width x height), an image may have {MAX_PIXELS} in all; make it smaller, or "
            "restore it from the data set."
        )


def read_bytes(path: Path) -> bytes:
    """Return what a file of a data set holds; an InputError names one that cannot be read."""
    try:
        if path.exists() and not path.is_file():  # reading a FIFO would wait for ever, and a device has no end
            raise InputError(f"{path}: is no file; check the path, or restore the file.")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path.") from error


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


# OpenCV is imported where it is used: only KITTI and HD1K need it.
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def read_png16(path: str | Path) -> UInt16[np.ndarray, "h w 3"]:
    """Read a PNG file of 16-bit RGB.

    Args:
        path: The file.

    Returns:
        The values as in the file, 0..65535; row 0 is the top of the image.

    Raises:
        InputError: The file is missing or damaged, has more than MAX_PIXELS, or is another kind of PNG.
    """
    import cv2

    path = Path(path)
    content = read_bytes(path)
    _check_parts(content, path)
    _require_size(path, int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big"))
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise _damaged(path, f"OpenCV refuses it ({error.err})") from error
    if pixels is None:
        raise _damaged(path, "its header or its pixels cannot be decoded")
    if pixels.dtype != np.uint16 or pixels.shape[2:] != (3,):
        raise InputError(
            f"{path}: a PNG of {8 * pixels.itemsize} bits × {pixels.size // (pixels.shape[0] * pixels.shape[1])} "
            "channels; expected 16 bits × 3 channels (RGB), as in KITTI's flow format; check the path."
        )
    return np.ascontiguousarray(pixels[..., ::-1])  # OpenCV has blue, green, red


def write_png16(path: str | Path, pixels: UInt16[np.ndarray, "h w 3"]) -> None:
    """Write a PNG file of 16-bit RGB, the inverse of `read_png16`; an existing file is replaced."""
    import cv2

    _, content = cv2.imencode(".png", pixels[..., ::-1])
    Path(path).write_bytes(content.tobytes())


def _check_parts(content: bytes, path: Path) -> None:
    """Refuse a file that was cut off or changed: libpng would, too, but prints its reasons to stderr."""
    if content[:8] != _SIGNATURE:
        raise InputError(f"{path}: begins with {content[:8]!r}, a PNG file with {_SIGNATURE!r}; check the path.")
    position, name = 8, b""
    while name != b"IEND":
        name = content[position + 4 : position + 8]
        end = position + 12 + int.from_bytes(content[position : position + 4], "big")
        if end > len(content):
            raise _damaged(path, f"{len(content)} bytes found, its part at byte {position} reaches to byte {end}")
        if zlib.crc32(content[position + 4 : end - 4]) != int.from_bytes(content[end - 4 : end], "big"):
            raise _damaged(path, f"the checksum of the part {name!r} at byte {position} is wrong")
        position = end


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"{path}: damaged PNG file: {reason}; download it again.")


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


def read_flow(path: str | Path) -> tuple[Float32[np.ndarray, "2 h w"], Float32[np.ndarray, "h w"]]:
    """Read a flow file, whose suffix says its format: `.flo`, `.pfm`, or `.png` for KITTI's.

    Args:
        path: The file.

    Returns:
        Displacement in px (`[0]` is x to the right, `[1]` is y down; 0 where it is not known), and 1.0 where it is
        known, elsewhere 0.0. Row 0 is the top of the image. In `.flo` and `.pfm`, absolute values above 1e9 mark what
        is not known.

    Raises:
        InputError: The suffix is another, or the file is missing or damaged.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".png":
        return read_kitti_flow(path)
    readers = {".flo": read_flo, ".pfm": read_pfm}
    if suffix not in readers:
        raise InputError(
            f"{path}: a flow file ends in .flo, .pfm or .png (KITTI's format); convert it to one of these."
        )
    flow = readers[suffix](path)
    known = (np.abs(flow) <= UNKNOWN).all(axis=0)
    return np.where(known, flow, np.float32(0)), known.astype(np.float32)
