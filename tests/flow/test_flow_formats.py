"""PFM, 16-bit PNG and KITTI's flow, read and written; which reader a suffix means; what benchmarks' servers accept."""

import struct
import zlib
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from rwtl.errors import InputError
from rwtl.flow.files import (
    read_flo,
    read_flow,
    read_kitti_flow,
    read_pfm,
    read_png16,
    write_flo,
    write_kitti_flow,
    write_pfm,
    write_png16,
)
from rwtl.flow.submission import KITTI_LIMITS, beyond, write_kitti, write_sintel


def _flow(height=3, width=5):
    return np.random.default_rng(0).normal(0, 9, (2, height, width)).astype(np.float32)


def _refused(function, path, words):
    with pytest.raises(InputError) as caught:
        function(path)
    for word in [path.name, *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(("order", "scale"), [("<f4", "-1.000000"), (">f4", "1.0")])
def test_pfm_rows_are_bottom_up_and_the_scale_says_the_byte_order(tmp_path, order, scale):
    # One column, two rows: the first triple in the file is the bottom pixel. The third channel is no flow.
    pixels = np.array([1.5, -2.0, np.nan, 3.0, 4.0, 7.0], order).tobytes()
    (tmp_path / "a.pfm").write_bytes(f"PF\n1 2\n{scale}\n".encode() + pixels)
    np.testing.assert_array_equal(read_pfm(tmp_path / "a.pfm"), [[[3.0], [1.5]], [[4.0], [-2.0]]])


def test_pfm_round_trip_keeps_every_bit_and_the_third_channel_is_0(tmp_path):
    write_pfm(tmp_path / "a.pfm", _flow())
    np.testing.assert_array_equal(read_pfm(tmp_path / "a.pfm"), _flow())
    content = (tmp_path / "a.pfm").read_bytes()
    assert content.startswith(b"PF\n5 3\n-1.0\n")
    values = np.frombuffer(content, "<f4", offset=12).reshape(3, 5, 3)
    assert not values[..., 2].any()
    np.testing.assert_array_equal(values[0, :, 0], _flow()[0, 2])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda b: b[:-1], ["191 bytes found", "192 expected", "5x3"]),
        (lambda b: b + b"\0", ["193 bytes found", "192 expected"]),
        (lambda b: b[:7], ["begins with b'PF", "'PF'"]),
        (lambda b: b"Pf" + b[2:], ["begins with b'Pf", "three channels"]),
        (lambda b: b"", ["begins with b''"]),
        (lambda b: b"PF\n0 3\n-1.0\n", ["size of 0x3"]),
        (lambda b: b.replace(b"-1.0", b"-2.0"), ["scale -2.0", "-1 or 1"]),
        (lambda b: b.replace(b"-1.0", b"-.-."), ["scale -.-.", "-1 or 1"]),
        (
            lambda b: b[:12] + np.array([np.nan], "<f4").tobytes() + b[16:],
            ["1 flow values", "channel 0, row 2, column 0"],
        ),
        (lambda b: b[:-8] + np.array([-np.inf], "<f4").tobytes() + b[-4:], ["-inf", "channel 1, row 0, column 4"]),
    ],
)
def test_damaged_pfm_is_refused_with_file_and_value(tmp_path, change, words):
    path = tmp_path / "damaged.pfm"
    write_pfm(path, _flow())
    path.write_bytes(change(path.read_bytes()))
    _refused(read_pfm, path, words)


def test_missing_files_and_other_suffixes_are_refused(tmp_path):
    for name in ("no.pfm", "no.png", "no.flo"):
        _refused(read_flow, tmp_path / name, ["No such file"])
    _refused(read_flow, tmp_path / "a.npy", [".flo, .pfm or .png"])


def _paeth(a, b, c):
    near = [abs(a + b - c - x) for x in (a, b, c)]
    return (a, b, c)[near.index(min(near))]


# What each filter of PNG predicts for a byte from those to the left, above, and above to the left.
PREDICTIONS = [
    lambda a, b, c: 0,
    lambda a, b, c: a,
    lambda a, b, c: b,
    lambda a, b, c: (a + b) // 2,
    _paeth,
    lambda a, b, c: 0,  # there is no filter 5
]


def _png(pixels, filters, parts=1, height=None):
    """A PNG file byte by byte, with the given filter in each row."""
    _, width, _ = pixels.shape
    rows = np.zeros((len(pixels) + 1, 6 * width + 6), int)
    rows[1:, 6:] = pixels.astype(">u2").view(np.uint8).reshape(len(pixels), 6 * width)
    filtered = bytearray()
    for row, filter_type in enumerate(filters, start=1):
        filtered.append(filter_type)
        for i in range(6, rows.shape[1]):
            left, above, corner = rows[row, i - 6], rows[row - 1, i], rows[row - 1, i - 6]
            filtered.append((rows[row, i] - PREDICTIONS[filter_type](left, above, corner)) % 256)
    data = zlib.compress(bytes(filtered))
    cuts = [len(data) * i // parts for i in range(parts + 1)]
    header = struct.pack(">IIBBBBB", width, len(pixels) if height is None else height, 16, 2, 0, 0, 0)
    data_chunks = [(b"IDAT", data[a:b]) for a, b in pairwise(cuts)]
    return _file((b"IHDR", header), (b"tEXt", b"Title\0flow"), *data_chunks, (b"IEND", b""))


def _file(*chunks):
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


HEADER = (b"IHDR", struct.pack(">IIBBBBB", 7, 11, 16, 2, 0, 0, 0))


def _pixels(height=11, width=7):
    # Smooth, so that predictions matter, over the whole range, so that bytes wrap around.
    y, x = np.mgrid[:height, :width]
    steps = np.random.default_rng(0).integers(0, 300, (height, width, 3))
    return ((x * 4001 + y * 9001)[..., None] + steps).astype(np.uint16)


@pytest.mark.parametrize("filters", [[kind] * 11 for kind in range(5)] + [[4, 3, 0, 1, 2, 3, 3, 4, 4, 1, 3]])
@pytest.mark.parametrize("width", [1, 7, 30])
def test_16_bit_png_with_any_filter_is_read_to_the_bit(tmp_path, filters, width):
    pixels = _pixels(width=width)
    (tmp_path / "a.png").write_bytes(_png(pixels, filters, parts=3))
    np.testing.assert_array_equal(read_png16(tmp_path / "a.png"), pixels)
    # Pillow, which shares no code with OpenCV, sees the upper 8 bits.
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), pixels >> 8)


def test_16_bit_png_round_trip(tmp_path):
    write_png16(tmp_path / "a.png", _pixels())
    np.testing.assert_array_equal(read_png16(tmp_path / "a.png"), _pixels())
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), _pixels() >> 8)


def _flip_bit(content, position):
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


WHOLE = _png(_pixels(), [0] * 11)
UNREADABLE = ["damaged", "cannot be decoded"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["begins with b''"]),
        (b"P6 1 1 255\n", ["begins with b'P6 1 1"]),
        (WHOLE[:18], ["18 bytes found", "reaches to byte 33"]),
        (WHOLE[:-12], ["part at byte", "reaches to byte"]),
        (WHOLE[:-40], ["part at byte 55", "reaches to byte"]),
        (_flip_bit(WHOLE, 20), ["checksum of the part b'IHDR' at byte 8"]),
        (_flip_bit(WHOLE, -30), ["checksum of the part b'IDAT'"]),
        (_file((b"IEND", b"")), UNREADABLE),
        (_file(HEADER, (b"IDAT", b"no zlib"), (b"IEND", b"")), UNREADABLE),
        (_file(HEADER, (b"IDAT", zlib.compress(bytes(473))[:-4]), (b"IEND", b"")), UNREADABLE),
        (_file(HEADER, (b"IEND", b"")), UNREADABLE),
        (_png(_pixels(), [0] * 10), UNREADABLE),
        (_png(_pixels(), [0, 0, 5, *[0] * 8]), UNREADABLE),
        (_png(_pixels(), [0] * 11, height=0), UNREADABLE),
        (
            _file((b"IHDR", struct.pack(">IIBBBBB", 99999, 99999, 16, 2, 0, 0, 0)), (b"IDAT", b""), (b"IEND", b"")),
            ["99999x99999 px", "an image may have 33554432 in all"],
        ),
    ],
)
def test_damaged_png_is_refused_with_file_and_reason(tmp_path, content, words):
    (tmp_path / "damaged.png").write_bytes(content)
    _refused(read_png16, tmp_path / "damaged.png", words)


def test_a_png_with_any_bit_changed_or_any_end_missing_is_refused_without_a_word_on_stderr(tmp_path, capfd):
    path = tmp_path / "damaged.png"
    write_png16(path, _pixels(4, 3))
    whole = path.read_bytes()
    changed = [
        whole[: i // 8] + bytes([whole[i // 8] ^ (1 << i % 8)]) + whole[i // 8 + 1 :] for i in range(8 * len(whole))
    ]
    for content in [*changed, *(whole[:end] for end in range(len(whole)))]:
        path.write_bytes(content)
        _refused(read_png16, path, [])
    path.write_bytes(whole)
    np.testing.assert_array_equal(read_png16(path), _pixels(4, 3))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("RGB", ["8 bits × 3 channels", "expected 16 bits × 3 channels (RGB)"]),
        ("P", ["8 bits × 3 channels"]),
        ("L", ["8 bits × 1 channels"]),
        ("I;16", ["16 bits × 1 channels"]),
        ("RGBA", ["8 bits × 4 channels"]),
    ],
)
def test_other_kinds_of_png_are_refused(tmp_path, mode, words):
    Image.new(mode, (7, 11)).save(tmp_path / "other.png")
    _refused(read_png16, tmp_path / "other.png", words)


def test_an_interlaced_png_is_read(tmp_path):
    # Adam7, the seven passes of PNG: first row, first column, and the steps to the next ones.
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    big_endian, rows = _pixels().astype(">u2"), b""
    for row, column, down, across in passes:
        rows += b"".join(b"\0" + line.tobytes() for line in big_endian[row::down, column::across] if line.size)
    header = (b"IHDR", struct.pack(">IIBBBBB", 7, 11, 16, 2, 0, 0, 1))
    (tmp_path / "a.png").write_bytes(_file(header, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")))
    np.testing.assert_array_equal(read_png16(tmp_path / "a.png"), _pixels())


def test_kitti_flow_is_in_64ths_of_a_pixel_about_2_to_the_15(tmp_path):
    # u, v, known: no motion; the largest; 1.5 to the right and 2 up; unknown.
    write_png16(
        tmp_path / "a.png",
        np.array([[[32768, 32768, 1], [65535, 0, 1], [32864, 32640, 1], [0, 0, 0]]], np.uint16),
    )
    flow, known = read_kitti_flow(tmp_path / "a.png")
    np.testing.assert_array_equal(flow, [[[0, 511.984375, 1.5, 0]], [[0, -512, -2, 0]]])
    np.testing.assert_array_equal(known, [[1, 1, 1, 0]])


def test_kitti_flow_is_written_rounded_and_the_unknown_as_0(tmp_path):
    flow = np.array([[[1.0, 0.01, np.nan]], [[-2.0, 0.005, 1e10]]], np.float32)
    write_kitti_flow(tmp_path / "a.png", flow, np.array([[1, 1, 0]], np.float32))
    np.testing.assert_array_equal(read_png16(tmp_path / "a.png"), [[[32832, 32640, 1], [32769, 32768, 1], [0, 0, 0]]])


@pytest.mark.parametrize(
    ("value", "words"), [(512.0, ["512.0", "-512 to 511.98"]), (-512.25, ["-512.25"]), (np.nan, ["nan", "not finite"])]
)
def test_flow_that_the_format_cannot_hold_is_not_written(tmp_path, value, words):
    flow = np.zeros((2, 3, 4), np.float32)
    flow[1, 2, 3] = value
    _refused(lambda path: write_kitti_flow(path, flow, np.ones((3, 4), np.float32)), tmp_path / "a.png", words)
    assert not (tmp_path / "a.png").exists()


def test_a_submission_holds_a_longer_displacement_as_the_longest_of_the_format(tmp_path):
    flow = np.zeros((2, 1, 3), np.float32)
    flow[:, 0, 0], flow[0, 0, 2] = [512.0, -700], 511.99
    written, _ = read_kitti_flow(write_kitti(tmp_path, "a", flow))
    np.testing.assert_array_equal(written, [[[511.984375, 0, 511.984375]], [[-512, 0, 0]]])
    assert beyond(flow, KITTI_LIMITS) == 2 and beyond(written, KITTI_LIMITS) == 0
    for value in (np.nan, np.inf):
        flow[1, 0, 1] = value
        _refused(lambda path: write_kitti(tmp_path, "b", flow), tmp_path / "b.png", ["not finite", "channel 1"])
    assert not (tmp_path / "b.png").exists()


def test_suffix_decides_the_reader_and_unknown_flow_is_0_and_marked(tmp_path):
    flow = _flow()
    flow[1, 1, 2] = 1.5e9
    known = np.ones((3, 5), np.float32)
    known[1, 2] = 0
    write_flo(tmp_path / "a.flo", flow)
    write_pfm(tmp_path / "a.PFM", flow)
    write_kitti_flow(tmp_path / "a.png", flow, known)
    for name, tolerance in (("a.flo", 0), ("a.PFM", 0), ("a.png", 1 / 128)):
        read, where = read_flow(tmp_path / name)
        np.testing.assert_allclose(read, np.where(known, flow, 0), rtol=0, atol=tolerance)
        np.testing.assert_array_equal(where, known)


def test_sintel_submission_has_the_servers_names(tmp_path):
    path = write_sintel(tmp_path, "final", "ambush_1", 7, _flow())
    assert path == tmp_path / "final" / "ambush_1" / "frame0007.flo"
    np.testing.assert_array_equal(read_flo(path), _flow())
    with pytest.raises(InputError, match="render is 'albedo'"):
        write_sintel(tmp_path, "albedo", "ambush_1", 7, _flow())
    with pytest.raises(InputError, match="ambush_1 is 0"):
        write_sintel(tmp_path, "clean", "ambush_1", 0, _flow())


def test_kitti_submission_is_valid_everywhere(tmp_path):
    path = write_kitti(tmp_path / "flow", "000000_10", _flow())
    assert path == tmp_path / "flow" / "000000_10.png"
    flow, known = read_kitti_flow(path)
    assert known.min() == 1
    np.testing.assert_allclose(flow, _flow(), rtol=0, atol=1 / 128)
