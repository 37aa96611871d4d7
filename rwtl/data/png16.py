"""PNG files of 16-bit RGB without interlacing, which Pillow cuts to 8 bits without a word.

Only what KITTI and HD1K need of the format (ISO/IEC 15948, "Portable Network Graphics").
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int16, UInt8, UInt16

from rwtl.data.flow_files import read_bytes
from rwtl.errors import InputError

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
