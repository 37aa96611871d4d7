"""Files of flow and images: .flo, PFM and KITTI's 16-bit PNG are read and written, images are read.

Only what KITTI and HD1K need of the format (ISO/IEC 15948, "Portable Network Graphics").
"""

import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int16, UInt8, UInt16
from PIL import Image

from rwtl.errors import InputError
from rwtl.flow.sample import UNKNOWN

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


_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KIND = (16, 2, 0, 0, 0)  # bits, RGB, deflate, the five filters, not interlaced
_PIXEL_BYTES = 6
_SUB, _UP, _AVERAGE, _PAETH = 1, 2, 3, 4


def read_png16(path: str | Path) -> UInt16[np.ndarray, "h w 3"]:
    """Read a PNG file of 16-bit RGB without interlacing.

    Args:
        path: The file.

    Returns:
        The values as in the file, 0..65535; row 0 is the top of the image.

    Raises:
        InputError: The file is missing or damaged (every checksum is checked), or is another kind of PNG.
    """
    path = Path(path)
    chunks = list(_chunks(read_bytes(path), path))
    if not chunks or chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 13:
        raise _damaged(path, "it does not begin with a header (IHDR)")
    width, height, *kind = struct.unpack(">IIBBBBB", chunks[0][1])
    if tuple(kind) != _KIND:
        raise InputError(
            f"{path}: a PNG of {kind[0]} bits, colour type {kind[1]}, interlacing {kind[4]}; expected 16-bit RGB, "
            "which is 16, 2, 0. A flow in KITTI's format is such a file; check the path."
        )
    if not (width and height):
        raise _damaged(path, f"its header gives a size of {width}x{height} px (width x height)")
    row_bytes = 1 + _PIXEL_BYTES * width
    data = _inflate(b"".join(data for name, data in chunks if name == b"IDAT"), height * row_bytes, path)
    rows = np.frombuffer(data, np.uint8).reshape(height, row_bytes)
    types = rows[:, 0]
    if (types > _PAETH).any():
        row = int(np.argmax(types > _PAETH))
        raise _damaged(path, f"row {row} has filter {types[row]}, there are 0 to {_PAETH}")
    pixels = _undo_filters(types, rows[:, 1:].reshape(height, width, _PIXEL_BYTES))
    return pixels.view(">u2").astype(np.uint16)


def write_png16(path: str | Path, pixels: UInt16[np.ndarray, "h w 3"]) -> None:
    """Write a PNG file of 16-bit RGB, the inverse of `read_png16`; an existing file is replaced."""
    height, width, _ = pixels.shape
    rows = pixels.astype(">u2").view(np.uint8).reshape(height, -1)
    differences = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1]))  # modulo 256, as the filter Up wants it
    filtered = np.insert(differences, 0, _UP, axis=1)
    content = [_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, *_KIND))]
    content += [_chunk(b"IDAT", zlib.compress(filtered.tobytes())), _chunk(b"IEND", b"")]
    Path(path).write_bytes(_SIGNATURE + b"".join(content))


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _chunks(content: bytes, path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and data of each chunk up to the end mark (IEND)."""
    if content[:8] != _SIGNATURE:
        raise InputError(f"{path}: begins with {content[:8]!r}, a PNG file with {_SIGNATURE!r}; check the path.")
    position, name = 8, b""
    while name != b"IEND":
        if position + 12 > len(content):
            raise _damaged(path, f"{len(content)} bytes found, its end mark (IEND) is missing")
        length, name = struct.unpack_from(">I4s", content, position)
        end = position + 12 + length
        if end > len(content):
            raise _damaged(path, f"{len(content)} bytes found, the part {name!r} would reach to byte {end}")
        data = content[position + 8 : end - 4]
        if zlib.crc32(name + data) != int.from_bytes(content[end - 4 : end], "big"):
            raise _damaged(path, f"the checksum of the part {name!r} at byte {position} is wrong")
        yield name, data
        position = end


def _inflate(compressed: bytes, expected: int, path: Path) -> bytes:
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(compressed, expected + 1)  # one byte more, to notice that there is more
    except zlib.error as error:
        raise _damaged(path, f"its pixels cannot be decompressed ({error})") from error
    if len(data) != expected:
        found = "more" if len(data) > expected else len(data)
        raise _damaged(path, f"{expected} bytes of pixels expected, {found} found")
    if not stream.eof:
        raise _damaged(path, "the checksum of its pixels is missing")
    return data


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"{path}: damaged PNG file: {reason}; download it again.")


def _undo_filters(
    types: UInt8[np.ndarray, "h"], filtered: UInt8[np.ndarray, "h w bytes"]
) -> UInt8[np.ndarray, "h w bytes"]:
    """Add to every byte what its row's filter predicts from the bytes to the left, above, and above to the left.

    All of these lie on the two diagonals (row + column) before the byte's own: a diagonal is computed at once.
    """
    height, width, lanes = filtered.shape
    added = np.zeros((height + width - 1, height, lanes), np.int16)
    _by_row(added, width)[:] = filtered
    # Two diagonals and one row of zeros lie before the image.
    pixels = np.zeros((height + width + 1, height + 1, lanes), np.int16)
    of_type = [np.repeat(types[:, None] == kind, lanes, axis=1) for kind in range(_PAETH + 1)]
    sub, up = (of_type[kind].astype(np.int16) for kind in (_SUB, _UP))
    for diagonal in range(height + width - 1):
        rows = slice(max(0, diagonal - width + 1), min(height, diagonal + 1))
        rows_below = slice(rows.start + 1, rows.stop + 1)
        left, above = pixels[diagonal + 1, rows_below], pixels[diagonal + 1, rows]
        predicted = np.where(
            of_type[_PAETH][rows],
            _paeth(left, above, pixels[diagonal, rows]),
            np.where(of_type[_AVERAGE][rows], (left + above) >> 1, left * sub[rows] + above * up[rows]),
        )
        np.bitwise_and(predicted + added[diagonal, rows], 255, out=pixels[diagonal + 2, rows_below])
    return _by_row(pixels[2:, 1:], width).astype(np.uint8)


def _by_row(diagonals: Int16[np.ndarray, "diagonals h bytes"], width: int) -> Int16[np.ndarray, "h {width} bytes"]:
    """View [row + column, row] as [row, column]."""
    _, height, lanes = diagonals.shape
    along, down, lane = diagonals.strides
    return np.lib.stride_tricks.as_strided(diagonals, (height, width, lanes), (along + down, along, lane))


def _paeth(
    left: Int16[np.ndarray, "n bytes"], above: Int16[np.ndarray, "n bytes"], corner: Int16[np.ndarray, "n bytes"]
) -> Int16[np.ndarray, "n bytes"]:
    """Whichever of the three is nearest to left + above - corner, the first of them where several are."""
    to_left, to_above = above - corner, left - corner
    to_corner = np.abs(to_left + to_above)
    to_left, to_above = np.abs(to_left), np.abs(to_above)
    nearest = np.where(to_above <= to_corner, above, corner)
    return np.where((to_left <= to_above) & (to_left <= to_corner), left, nearest)


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
