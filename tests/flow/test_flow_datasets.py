import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from rwtl.errors import InputError
from rwtl.flow.catalogue import FLOW_DATASETS, flow_dataset
from rwtl.flow.files import write_flo
from rwtl.flow.layouts import FlyingChairs, Sintel
from rwtl.flow.sample import FlowSample, flow_sample
from rwtl.flow.scenes.dataset import ProceduralFlow

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


def test_sparse_flow_is_valid_where_it_is_known():
    flow = np.zeros((2, 1, 4), np.float32)
    flow[0] = [[399, 400, 399, 3]]
    image = np.zeros((3, 1, 4), np.float32)
    sample = flow_sample(image, image + 1, flow, np.array([[1, 1, 0, 1]], np.float32))
    assert sample.valid.tolist() == [[1, 1, 0, 1]] and sample.valid.dtype == torch.float32
    np.testing.assert_array_equal(sample.flow, flow)
    assert sample.image1.max() == 0 and sample.image2.min() == 1


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


def _release(folder, count=5):
    (folder / "data").mkdir(parents=True)
    for number in range(1, count + 1):
        _write_pair(folder / "data", [file.replace("00001", f"{number:05d}") for file in OFFICIAL], number)
    return folder


def test_release_folder_is_as_good_as_its_data_folder(tmp_path):
    release = _release(tmp_path / "FlyingChairs_release")
    whole, inner = FlyingChairs(release), FlyingChairs(release / "data")
    assert whole.names == inner.names == ["00001", "00002", "00003", "00004", "00005"]
    assert whole.identity() == inner.identity()
    assert not whole.sparse


@pytest.mark.parametrize("name", ["FlyingChairs_train_val.txt", "chairs_split.txt"])
@pytest.mark.parametrize("inner", [".", "data"])
@pytest.mark.parametrize("place", ["FlyingChairs_release", "FlyingChairs_release/data"])
def test_split_file_is_found_in_the_folder_and_above(tmp_path, monkeypatch, name, inner, place):
    release = _release(tmp_path / "FlyingChairs_release")
    if inner == "." and place.endswith("data"):
        place = "."  # above the release
    (tmp_path / place / name).write_text("1\r\n1\r\n2\r\n1\r\n2\r\n")
    monkeypatch.chdir(release / inner)  # the folder above must be found from a relative path too
    for root in (release / inner, "."):
        assert FlyingChairs(root, "training").names == ["00001", "00002", "00004"]
        validation = FlyingChairs(root, "validation")
        assert validation.names == ["00003", "00005"]
        assert [sample.flow[0, 0, 0].item() for sample in validation] == [3, 5]
        assert len(FlyingChairs(root)) == 5


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("1\n2\n1\n", "3 lines for 5 pairs"),
        ("1\n2\n1\n1\n1\n2\n", "6 lines for 5 pairs"),
        ("1\n2\n3\n1\n1\n", "line 3 is '3', expected 1 for training or 2 for validation"),
        ("1\n2\n\n1\n1\n", "line 3 is ''"),
        ("1\n1\n1\n1\n1\n", "no line is 2, so there is no pair for validation"),
    ],
)
def test_split_file_that_does_not_fit_is_refused(tmp_path, content, words):
    release = _release(tmp_path / "release")
    (tmp_path / "my_split.txt").write_text(content)
    with pytest.raises(InputError, match=rf"my_split\.txt: {words}"):
        FlyingChairs(release, "validation", tmp_path / "my_split.txt")


def test_split_without_a_file_or_the_reverse_is_refused(tmp_path):
    release = _release(tmp_path / "release")
    with pytest.raises(InputError, match=r"FlyingChairs_train_val\.txt or chairs_split\.txt.*1 for training.*Download"):
        FlyingChairs(release, "training")
    with pytest.raises(InputError, match=r"no\.txt: cannot be read"):
        FlyingChairs(release, "training", tmp_path / "no.txt")
    with pytest.raises(InputError, match="split is 'train'; choose one of training, validation"):
        FlyingChairs(release, "train")
    with pytest.raises(InputError, match=r"split_file is .*some\.txt but split is null"):
        FlyingChairs(release, split_file=tmp_path / "some.txt")


def test_a_section_names_a_data_set_and_its_arguments(tmp_path):
    _write_pair(tmp_path, OFFICIAL, 10)
    chairs = flow_dataset({"name": "flying_chairs", "root": str(tmp_path), "split": None}, "data")
    assert type(chairs) is FlyingChairs and chairs.names == ["00001"]
    scenes = flow_dataset({"name": "procedural", "size": 3, "tail": 2}, "data")
    assert type(scenes) is ProceduralFlow and len(scenes) == 3
    assert list(FLOW_DATASETS) == [
        "flying_chairs",
        "flying_things",
        "sintel",
        "kitti",
        "hd1k",
        "middlebury",
        "folder",
        "procedural",
    ]
    assert FLOW_DATASETS["sintel"] is Sintel


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "validation.name is None; choose one of flying_chairs, flying_things, sintel"),
        ({"name": "chairs"}, "validation.name is 'chairs'; choose one of"),
        ({"name": "sintel"}, "validation.root is not set; give it a value"),
        ({"name": "sintel", "root": None}, "validation.root is not set"),
        ({"name": "sintel", "root": "x", "render": None}, "validation.render is not set"),
        (
            {"name": "kitti", "root": "x", "render": "clean"},
            "validation.render: .*no such key; its keys are root, split",
        ),
        ({"name": "kitti", "root": "no_such"}, "no_such.*no such folder"),
        ({"name": "kitti", "root": 2015}, "validation.root is 2015; it must be a path"),
        ({"name": "procedural", "size": 1.5}, "validation.size is 1.5; it must be a whole number"),
        ({"name": "procedural", "size": 1, "tail": "long"}, "validation.tail is 'long'; it must be a number"),
    ],
)
def test_a_section_that_does_not_fit_is_refused_with_the_choices(values, words):
    with pytest.raises(InputError, match=words):
        flow_dataset(values, "validation")
