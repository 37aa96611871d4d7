"""What the section flow_data makes of the catalogue."""

import numpy as np
import pytest
from PIL import Image

from rwtl.errors import InputError
from rwtl.flow.augmentation import Augmentation, SparseAugmentation
from rwtl.flow.catalogue import FlowData, FlowDataConfig
from rwtl.flow.files import write_flo, write_kitti_flow
from rwtl.pipeline.status import digest_of
from rwtl.sampling import SampleStream
from rwtl.sections import typed

CROP = {"height": 16, "width": 24, "min_scale": 0.0, "max_scale": 0.2}


def write_pairs(folder, suffix, pairs):
    folder.mkdir()
    for pair in range(pairs):
        for frame in (1, 2):
            Image.fromarray(np.full((32, 40, 3), 10 * pair, np.uint8)).save(folder / f"{pair}_img{frame}.png")
        flow = np.full((2, 32, 40), pair, np.float32)
        if suffix == ".flo":
            write_flo(folder / f"{pair}_flow.flo", flow)
        else:
            write_kitti_flow(folder / f"{pair}_flow.png", flow, np.ones_like(flow[0]))
    return folder


@pytest.fixture
def catalogue(tmp_path):
    dense, sparse = write_pairs(tmp_path / "dense", ".flo", 2), write_pairs(tmp_path / "sparse", ".png", 1)
    patterns = {"name": "folder", "image1": "*_img1.png", "image2": "*_img2.png"}
    return {
        "dense": {**patterns, "root": str(dense), "flow": "*_flow.flo"},
        "sparse": {**patterns, "root": str(sparse), "flow": "*_flow.png"},
        "missing": {**patterns, "root": "nowhere", "flow": "*_flow.flo"},
    }


def flow_data(values, catalogue):
    return FlowData.of(typed(FlowDataConfig, values, "flow_data"), catalogue)


MIXED = {
    "training": {
        "dense": {"repeats": 3, "augmentation": CROP},
        "sparse": {"repeats": 5, "augmentation": CROP},
        "missing": {"repeats": 0},
    },
    "validation": ["dense", "sparse"],
}


def test_a_mixture_repeats_and_augments_each_data_set_in_its_own_way(catalogue):
    data = flow_data(MIXED, catalogue)
    assert list(data.parts) == ["dense", "sparse"] and list(data.validation) == ["dense", "sparse"]
    (dense,), (sparse,) = (part.augmentations for part in data.parts.values())
    assert type(dense) is Augmentation and type(sparse) is SparseAugmentation
    assert dense.config.vertical_flip == 0.1 and sparse.config.brightness == 0.3
    stream = SampleStream(list(data.parts.values()), seed=1, samples=11)
    samples = list(stream)
    assert len(samples) == 3 * 2 + 5 * 1 and {tuple(sample.valid.shape) for sample in samples} == {(16, 24)}


def test_data_count_by_content_repeats_and_augmentation_and_not_by_path(catalogue, tmp_path):
    identity = flow_data(MIXED, catalogue).identity()
    (tmp_path / "dense").rename(tmp_path / "elsewhere")
    catalogue["dense"]["root"] = str(tmp_path / "elsewhere")
    assert flow_data(MIXED, catalogue).identity() == identity
    for part, change in (("dense", {"repeats": 4}), ("sparse", {"augmentation": {**CROP, "max_scale": 0.3}})):
        training = {**MIXED["training"], part: {**MIXED["training"][part], **change}}
        assert flow_data({**MIXED, "training": training}, catalogue).identity() != identity
    file = tmp_path / "elsewhere" / "1_flow.flo"  # one byte anywhere
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    assert flow_data(MIXED, catalogue).identity() != identity


@pytest.mark.parametrize("name", ["dense", "sparse"])
def test_a_crop_larger_than_a_frame_is_refused_before_anything_is_read(catalogue, tmp_path, name):
    def opened(**changes):
        return flow_data({"training": {name: {"augmentation": CROP | changes}}, "validation": ["dense"]}, catalogue)

    assert opened(height=32, width=40)
    small = tmp_path / name / "0_img1.png"
    Image.new("RGB", (30, 20)).save(small)
    keys = rf"flow_data\.training\.{name}\.augmentation"
    for crop, said in (((21, 24), "21 and 24"), ((16, 31), "16 and 31")):
        with pytest.raises(InputError, match=rf"{keys}: .* are {said}, but {small} has 20×30 px .*; set {keys}"):
            opened(height=crop[0], width=crop[1])
    assert opened(height=20, width=30) and opened(height=21, width=24, scale_probability=1)


def test_the_order_of_data_sets_counts(catalogue):
    """Samples are numbered part by part, and runs are compared by the first validation."""
    backwards = [
        {**MIXED, "validation": MIXED["validation"][::-1]},
        {**MIXED, "training": dict(reversed(MIXED["training"].items()))},
    ]
    digests = {
        digest_of("training", flow_data(values, catalogue).identity(), {}) for values in (MIXED, MIXED, *backwards)
    }
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"validation": []}, r"flow_data\.validation is \[\]; name each once, and at least one"),
        ({"validation": ["dense", "dense"]}, r"\['dense', 'dense'\]; name each once"),
        ({"training": {"dense": {"repeats": 0}}}, r"flow_data\.training has no data set"),
        ({"fraction": 0}, r"flow_data\.fraction is 0; it must be above 0 and at most 1"),
        ({"fraction": 1.5}, r"flow_data\.fraction is 1\.5; it must be above 0 and at most 1"),
        ({"fraction": float("nan")}, r"flow_data\.fraction is nan"),
        ({"subset_seed": -1}, r"flow_data\.subset_seed is -1; it must not be negative"),
        ({"training": {"missing": {}}}, "nowhere: no such folder"),
        (
            {"training": {"dense": {"repeats": -1}}},
            r"flow_data\.training\.dense\.repeats is -1; it must not",
        ),
        ({"training": {"dense": {"repeat": 1}}}, r"flow_data\.training.*repeat"),
        (
            {"training": {"dense": {"augmentation": {**CROP, "hue": 2}}}},
            r"dense\.augmentation\.hue is 2; it must lie in",
        ),
        (
            {"training": {"sparse": {"augmentation": {**CROP, "vertical_flip": 1}}}},
            r"sparse\.augmentation\.vertical_flip",
        ),
        ({"training": {"dense": {"augmentation": {"height": 16}}}}, r"flow_data\.training\.dense\.augmentation\.width"),
    ],
)
def test_senseless_sections_are_named(catalogue, changes, named):
    with pytest.raises(InputError, match=named):
        flow_data({**MIXED, **changes}, catalogue)
