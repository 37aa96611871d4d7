import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from rwtl.data.flow_datasets import FlyingChairs
from rwtl.data.flow_files import write_flo
from rwtl.data.flow_sample import FlowSample, dense_sample
from rwtl.errors import InputError

OFFICIAL = ("00001_img1.ppm", "00001_img2.ppm", "00001_flow.flo")
NUMBERED = ("0000007-img0.ppm", "0000007-img1.ppm", "0000007-gt.flo")


def _write_pair(root, files, grey, size=(4, 6), second=None, flow=None):
    for file, (height, width), value in zip(files, (size, second or size), (grey, grey + 1), strict=False):
        Image.new("RGB", (width, height), (value, 0, 0)).save(root / file)
    height, width = flow or size
    write_flo(root / files[2], np.full((2, height, width), grey, np.float32))


def test_both_ways_of_naming_are_read(tmp_path):
    _write_pair(tmp_path, NUMBERED, 30)
    _write_pair(tmp_path, OFFICIAL, 10)
    (tmp_path / "README.md").write_text("about the data")
    chairs = FlyingChairs(tmp_path)
    assert chairs.names == ["0000007", "00001"]
    assert len(chairs) == 2
    for sample, grey in zip((chairs[0], chairs[1]), (30, 10), strict=True):
        assert sample.image1[0].unique().tolist() == [grey]
        assert sample.image2[0].unique().tolist() == [grey + 1]
        assert sample.flow.unique().tolist() == [grey]
        assert sample.valid.shape == (4, 6) and sample.valid.min() == 1


def test_samples_are_batched_as_samples(tmp_path):
    _write_pair(tmp_path, NUMBERED, 30)
    _write_pair(tmp_path, OFFICIAL, 10)
    batch = next(iter(DataLoader(FlyingChairs(tmp_path), batch_size=2)))
    assert isinstance(batch, FlowSample)
    assert [tuple(t.shape) for t in batch] == [(2, 3, 4, 6), (2, 3, 4, 6), (2, 2, 4, 6), (2, 4, 6)]
    assert all(t.dtype == torch.float32 for t in batch)
    assert batch.image1[:, 0, 0, 0].tolist() == [30, 10]


def test_valid_leaves_out_unknown_and_long_flow():
    flow = np.zeros((2, 1, 5), np.float32)
    flow[:, 0] = [[399, 400, 300, 1.7e9, 3e38], [0, 0, 300, 1.7e9, 3e38]]
    image = np.zeros((3, 1, 5), np.float32)
    assert dense_sample(image, image, flow).valid.tolist() == [[1, 0, 0, 0, 0]]


def test_folder_without_pairs_is_refused(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        FlyingChairs(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"no FlyingChairs pairs.*00001_img1\.ppm"):
        FlyingChairs(tmp_path)


@pytest.mark.parametrize("files", [OFFICIAL, NUMBERED])
@pytest.mark.parametrize("missing", [0, 1, 2])
def test_incomplete_pair_names_the_missing_file(tmp_path, files, missing):
    _write_pair(tmp_path, files, 10)
    (tmp_path / files[missing]).unlink()
    with pytest.raises(InputError, match=rf"incomplete, {files[missing]} missing"):
        FlyingChairs(tmp_path)


def test_files_of_other_names_are_not_skipped(tmp_path):
    _write_pair(tmp_path, OFFICIAL, 10)
    (tmp_path / "frame_3.ppm").write_bytes(b"")
    with pytest.raises(InputError, match=r"frame_3\.ppm is no FlyingChairs file name"):
        FlyingChairs(tmp_path)


def test_one_pair_under_both_names_is_refused(tmp_path):
    _write_pair(tmp_path, OFFICIAL, 10)
    _write_pair(tmp_path, ("00001-img0.ppm", "00001-img1.ppm", "00001-gt.flo"), 10)
    with pytest.raises(InputError, match="00001 is there in both"):
        FlyingChairs(tmp_path)


@pytest.mark.parametrize("other", ["second", "flow"])
def test_sizes_that_differ_are_refused_when_read(tmp_path, other):
    _write_pair(tmp_path, OFFICIAL, 10, **{other: (4, 7)})
    chairs = FlyingChairs(tmp_path)
    with pytest.raises(InputError) as caught:
        chairs[0]
    sizes = {"second": ("6x4", "7x4", "6x4"), "flow": ("6x4", "6x4", "7x4")}[other]
    for file, size in zip(OFFICIAL, sizes, strict=True):
        assert f"{file} {size}" in str(caught.value)
