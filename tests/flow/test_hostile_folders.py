"""Folders of pairs as no data set has them: each is refused in one line that names what is wrong, and none hangs."""

import os
import struct
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from rwtl.errors import InputError
from rwtl.flow import files, pairs
from rwtl.flow.catalogue import flow_dataset
from rwtl.flow.files import read_flow, read_image, read_png16, write_flo
from rwtl.flow.layouts import FlyingChairs, Sintel
from rwtl.flow.pairs import FlowFolder

ENDS = ("_1.png", "_2.png", ".flo")


def pair(root, name="a"):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    for end in ENDS[:2]:
        Image.new("RGB", (24, 16)).save(root / f"{name}{end}")
    write_flo(root / f"{name}.flo", np.zeros((2, 16, 24), np.float32))


def opened(root):
    return FlowFolder(root, *(f"**/*{end}" for end in ENDS))


@pytest.fixture(autouse=True)
def soon():
    before = time.monotonic()
    yield
    assert time.monotonic() - before < 10, "it takes too long"


INSTEAD = {
    "a link to nowhere": lambda file: file.symlink_to("nowhere"),
    "a link to itself": lambda file: file.symlink_to(file.name),
    "a FIFO": os.mkfifo,
    "a device": lambda file: file.symlink_to("/dev/zero"),
    "a link to its folder": lambda file: file.symlink_to("."),
}


@pytest.mark.parametrize("what", [name for name in INSTEAD if "folder" not in name])
@pytest.mark.parametrize("end", ENDS)
def test_a_file_of_a_pair_that_is_none_is_refused_by_name(tmp_path, end, what):
    pair(tmp_path)
    (tmp_path / f"a{end}").unlink()
    INSTEAD[what](tmp_path / f"a{end}")
    data = opened(tmp_path)
    for attempt in (data.identity, lambda: data[0]):
        with pytest.raises(InputError) as caught:
            attempt()
        assert f"a{end}: " in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("what", INSTEAD)
def test_what_belongs_to_no_pair_does_not_matter(tmp_path, what):
    pair(tmp_path, "b/a")
    before = opened(tmp_path).identity()
    INSTEAD[what](tmp_path / "b" / "other")
    assert opened(tmp_path).names == ["b/a"] and opened(tmp_path).identity() == before


@pytest.mark.parametrize("file", ["training/clean/s/frame_0001.png", "training/flow/s/frame_0001.flo"])
@pytest.mark.parametrize("what", ["a FIFO", "a link to nowhere", "a device"])
def test_layouts_of_public_data_sets_refuse_what_is_no_file(tmp_path, file, what):
    for name in ("training/clean/s/frame_0001.png", "training/clean/s/frame_0002.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (24, 16)).save(tmp_path / name)
    (tmp_path / "training/flow/s").mkdir(parents=True)
    write_flo(tmp_path / "training/flow/s/frame_0001.flo", np.zeros((2, 16, 24), np.float32))
    (tmp_path / file).unlink()
    INSTEAD[what](tmp_path / file)
    data = Sintel(tmp_path)
    for attempt in (data.identity, lambda: data[0]):
        with pytest.raises(InputError, match=file):
            attempt()


def test_a_split_file_that_is_a_fifo_is_refused(tmp_path):
    for frame in (1, 2):
        Image.new("RGB", (24, 16)).save(tmp_path / f"00001_img{frame}.ppm")
    write_flo(tmp_path / "00001_flow.flo", np.zeros((2, 16, 24), np.float32))
    os.mkfifo(tmp_path / "split.txt")
    with pytest.raises(InputError, match=r"split\.txt: is no file"):
        FlyingChairs(tmp_path, "training", tmp_path / "split.txt")


def test_links_to_folders_that_hold_them_are_not_followed(tmp_path):
    """Each of them doubles what a walk that follows them all would find."""
    pair(tmp_path, "a/b/c/pair")
    before = opened(tmp_path).identity()
    for number in range(12):
        (tmp_path / "a" / f"up{number}").symlink_to("..")
        (tmp_path / "a" / "b" / f"up{number}").symlink_to(tmp_path)
        (tmp_path / "a" / "b" / "c" / f"here{number}").symlink_to(".")
    assert opened(tmp_path).names == ["a/b/c/pair"]
    assert opened(tmp_path).identity() == before


def test_links_that_double_the_ways_at_each_level_are_refused(tmp_path):
    for level in range(30):
        (tmp_path / f"folder{level}").mkdir()
        for name in ("x", "y"):
            (tmp_path / f"folder{level}" / name).symlink_to(tmp_path / f"folder{level + 1}")
    pair(tmp_path, "folder30/pair")
    with pytest.raises(InputError, match=r"links lead to its 3\d folders in more than 10000 ways; remove links"):
        opened(tmp_path)


def test_a_folder_that_two_links_lead_to_counts_twice(tmp_path):
    pair(tmp_path, "of/a")
    (tmp_path / "again").symlink_to("of")
    assert opened(tmp_path).names == ["again/a", "of/a"]


def test_a_folder_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    pair(tmp_path, "of/a")
    real = os.scandir

    def refuse(path):
        if str(path).endswith("of"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(pairs.os, "scandir", refuse)  # root, as which tests may run, may read everything
    with pytest.raises(InputError, match=r"of: cannot be read \(Permission denied\); make it readable"):
        opened(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names themselves")
def test_names_that_are_not_utf_8_are_refused_where_they_name_a_pair(tmp_path):
    pair(tmp_path)
    odd = os.fsdecode(b"caf\xe9")
    (tmp_path / f"{odd}.txt").touch()
    assert opened(tmp_path).names == ["a"]
    pair(tmp_path, odd)
    with pytest.raises(InputError, match=r"the name b'caf\\xe9' is not UTF-8; rename it") as caught:
        opened(tmp_path)
    str(caught.value).encode()
    root = tmp_path / os.fsdecode(b"\xff")
    pair(root)
    with pytest.raises(InputError, match=r"root: the name b.*xff' is not UTF-8; rename it"):
        opened(root)
    with pytest.raises(InputError, match=r"root: the name b.*xff.* is not UTF-8; rename it"):
        patterns = {"image1": "*_1.png", "image2": "*_2.png", "flow": "*.flo"}
        flow_dataset({"name": "folder", "root": str(root), **patterns}, "datasets.mine")
    (root / "a.flo").rename(root / os.fsdecode(b"\xfe.flo"))
    with pytest.raises(InputError, match=r"files without partners: .*udcfe.* is not UTF-8; rename it"):
        opened(root)


def _png(width, height, depth, kind):
    """A PNG of so many black pixels, in a few kilobytes."""
    channels = {0: 1, 2: 3}[kind]
    row = bytes(1 + width * channels * depth // 8)
    packed = zlib.compressobj(9)
    body = b"".join([*(packed.compress(row) for _ in range(height)), packed.flush()])
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)), (b"IDAT", body), (b"IEND", b"")]
    coded = (struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(coded)


def test_an_image_with_more_pixels_than_any_data_set_has_is_refused_before_it_is_decoded(tmp_path):
    (tmp_path / "bomb.png").write_bytes(_png(9000, 9000, 8, 0))  # Pillow takes up to 13,000 × 13,000
    with pytest.raises(InputError, match=r"bomb\.png: 9000x9000 px .*an image may have 33554432 in all; make it small"):
        read_image(tmp_path / "bomb.png")
    (tmp_path / "flow.png").write_bytes(_png(30000, 2000, 16, 2))
    for read in (read_png16, read_flow):
        with pytest.raises(InputError, match=r"flow\.png: 30000x2000 px .*an image may have"):
            read(tmp_path / "flow.png")
    assert files.MAX_PIXELS > 7680 * 4320
