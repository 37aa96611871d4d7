"""Data sets in their official layouts: which files make which pair, and what is refused."""

import json
import shutil
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from rwtl.errors import InputError
from rwtl.flow.catalogue import FLOW_DATASETS
from rwtl.flow.files import write_flo, write_kitti_flow, write_pfm
from rwtl.flow.layouts import HD1K, KITTI, FlyingChairs, FlyingThings3D, Middlebury, Sintel
from rwtl.flow.pairs import FlowFolder
from rwtl.flow.sample import FlowDataset, PaddingMode
from rwtl.flow.scenes.dataset import ProceduralFlow

HEIGHT, WIDTH = 4, 6


def _frame(path, grey):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), (grey, 0, 0)).save(path)


def _flow(path, value, size=(HEIGHT, WIDTH)):
    """u is the value and v half of it; in KITTI's format only the left half is known."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flow = np.full((2, *size), value, np.float32)
    flow[1] /= 2
    if path.suffix == ".png":
        known = np.zeros(size, np.float32)
        known[:, : WIDTH // 2] = 1
        write_kitti_flow(path, flow, known)
    else:
        (write_flo if path.suffix == ".flo" else write_pfm)(path, flow)


def _greys_and_flows(dataset):
    """First grey value, second grey value and u of each pair; frames, v and validity must be as written."""
    found = []
    for sample in (dataset[i] for i in range(len(dataset))):
        assert sample.image1.shape == sample.image2.shape == (3, HEIGHT, WIDTH)
        known = np.ones((HEIGHT, WIDTH))
        if dataset.sparse:
            known[:, WIDTH // 2 :] = 0
        np.testing.assert_array_equal(sample.valid, known)
        u = sample.flow[0, 0, 0].item()
        np.testing.assert_array_equal(sample.flow, np.stack([u * known, u / 2 * known]))
        (first,), (second,) = sample.image1[0].unique().tolist(), sample.image2[0].unique().tolist()
        found.append((first, second, u))
    return found


def _refused(make, *words):
    with pytest.raises(InputError) as caught:
        make()
    for word in words:
        assert word in str(caught.value)


def _things(root, render="clean", camera="left", split="TRAIN", sequences=("A/0000", "C/0012")):
    for start, sequence in zip((10, 110), sequences, strict=False):
        for frame in (6, 7, 8):
            _frame(root / f"frames_{render}pass" / split / sequence / camera / f"{frame:04d}.png", start + frame)
            for sign, direction, word in ((1, "into_future", "IntoFuture"), (-1, "into_past", "IntoPast")):
                folder = root / "optical_flow" / split / sequence / direction / camera
                _flow(folder / f"OpticalFlow{word}_{frame:04d}_{camera[0].upper()}.pfm", sign * (start + frame))
    return root


def test_flying_things_to_the_future_and_the_past_without_the_flow_that_leads_nowhere(tmp_path):
    things = FlyingThings3D(_things(tmp_path))
    future = [
        "A/0000/into_future/0006",
        "A/0000/into_future/0007",
        "C/0012/into_future/0006",
        "C/0012/into_future/0007",
    ]
    past = ["A/0000/into_past/0007", "A/0000/into_past/0008", "C/0012/into_past/0007", "C/0012/into_past/0008"]
    assert things.names == [*future, *past] and not things.sparse
    assert _greys_and_flows(things)[:4] == [(16, 17, 16), (17, 18, 17), (116, 117, 116), (117, 118, 117)]
    assert _greys_and_flows(things)[4:] == [(17, 16, -17), (18, 17, -18), (117, 116, -117), (118, 117, -118)]
    assert FlyingThings3D(tmp_path, directions=["into_past"]).names == past
    assert FlyingThings3D(tmp_path, directions="into_future").names == future


def test_flying_things_by_render_camera_and_split(tmp_path):
    _things(tmp_path, "final", "right", "TEST", ["B/0001"])
    things = FlyingThings3D(tmp_path, "final", ["into_future"], "right", "TEST")
    assert _greys_and_flows(things) == [(16, 17, 16), (17, 18, 17)]
    _refused(lambda: FlyingThings3D(tmp_path), "frames_cleanpass", "no such folder", "A/0000/left/0006.png")
    for key, value in {"render": "albedo", "camera": "top", "split": "train", "directions": ["past"]}.items():
        _refused(
            lambda arguments={key: value}: FlyingThings3D(tmp_path, **arguments),
            "choose one of",
            f"flying_things.{key}",
        )
    _refused(lambda: FlyingThings3D(tmp_path, directions=["into_past", "into_past"]), "each once")


def test_flying_things_with_parts_missing_is_refused(tmp_path):
    _things(tmp_path)
    flow = tmp_path / "optical_flow" / "TRAIN" / "A" / "0000" / "into_past" / "left"
    frames = tmp_path / "frames_cleanpass" / "TRAIN"
    (flow / "OpticalFlowIntoPast_0006_L.pfm").unlink()  # leads nowhere, and need not be there
    assert len(FlyingThings3D(tmp_path)) == 8
    (flow / "OpticalFlowIntoPast_0007_L.pfm").unlink()
    _refused(lambda: FlyingThings3D(tmp_path), f"{flow}: pair of frames but no flow for 0007")
    assert len(FlyingThings3D(tmp_path, directions=["into_future"])) == 4
    (frames / "A" / "0000" / "left" / "0006.png").unlink()
    future = {"root": tmp_path, "directions": ["into_future"]}
    _refused(lambda: FlyingThings3D(**future), "flow but no pair of frames for 0006")
    shutil.rmtree(tmp_path / "optical_flow" / "TRAIN" / "A")
    _refused(lambda: FlyingThings3D(**future), "frames but no flow for A/0000")
    shutil.rmtree(frames / "A")
    assert len(FlyingThings3D(**future)) == 2
    (frames / "C" / "0012" / "left" / "0007.png").unlink()
    _refused(lambda: FlyingThings3D(**future), "0012", "frame 6 is followed by frame 8")
    shutil.rmtree(frames / "C")
    _refused(lambda: FlyingThings3D(**future), "flow but no frames for C/0012")
    shutil.rmtree(tmp_path / "optical_flow" / "TRAIN" / "C")
    _refused(
        lambda: FlyingThings3D(**future), f"{tmp_path}: no FlyingThings3D pairs", "OpticalFlowIntoFuture_0006_L.pfm"
    )


def _sintel(root, render="clean", split="training"):
    for start, sequence in ((10, "alley_1"), (110, "temple_2")):
        for frame in (1, 2, 3):
            _frame(root / split / render / sequence / f"frame_{frame:04d}.png", start + frame)
            if split == "training" and frame < 3:
                _flow(root / split / "flow" / sequence / f"frame_{frame:04d}.flo", start + frame)
    return root


@pytest.mark.parametrize("render", ["clean", "final"])
def test_sintel_pairs_stay_within_their_sequences(tmp_path, render):
    sintel = Sintel(_sintel(tmp_path, render), render)
    assert sintel.names == [
        "alley_1/frame_0001",
        "alley_1/frame_0002",
        "temple_2/frame_0001",
        "temple_2/frame_0002",
    ]
    assert sintel.sequences == ["alley_1", "alley_1", "temple_2", "temple_2"]
    assert _greys_and_flows(sintel) == [(11, 12, 11), (12, 13, 12), (111, 112, 111), (112, 113, 112)]
    assert not sintel.sparse


def test_test_splits_have_no_valid_flow(tmp_path):
    sintel = Sintel(_sintel(tmp_path / "sintel", "final", "test"), "final", "test")
    assert len(sintel) == 4
    for name in ("000000", "000001"):
        for frame in (10, 11):
            _frame(tmp_path / "kitti" / "testing" / "image_2" / f"{name}_{frame}.png", frame)
    kitti = KITTI(tmp_path / "kitti", "testing")
    assert kitti.names == ["000000_10", "000001_10"]
    for dataset, greys in ((sintel, (11, 12)), (kitti, (10, 11))):
        sample = dataset[0]
        assert (sample.image1[0, 0, 0], sample.image2[0, 0, 0]) == greys
        assert sample.flow.shape == (2, HEIGHT, WIDTH) and not sample.flow.any()
        assert sample.valid.shape == (HEIGHT, WIDTH) and not sample.valid.any()
        assert dataset.identity()["pairs"] == len(dataset)


def test_sintel_with_parts_missing_is_refused(tmp_path):
    _sintel(tmp_path)
    frames, flow = (tmp_path / "training" / part / "alley_1" for part in ("clean", "flow"))
    _refused(lambda: Sintel(tmp_path, "albedo"), "render is 'albedo'", "clean, final")
    _refused(lambda: Sintel(tmp_path, split="train"), "split is 'train'", "training, test")
    _refused(lambda: Sintel(tmp_path, "final"), "final: no such folder", "training/clean/alley_1/frame_0001.png")
    shutil.copy(flow / "frame_0002.flo", flow / "frame_0003.flo")
    _refused(lambda: Sintel(tmp_path), f"{flow}: flow but no pair", "frame_0003")
    (flow / "frame_0003.flo").unlink()
    (flow / "frame_0001.flo").unlink()
    _refused(lambda: Sintel(tmp_path), f"{flow}: pair of frames but no flow for frame_0001")
    _flow(flow / "frame_0001.flo", 11)
    shutil.move(frames / "frame_0002.png", frames / "frame_2.png")
    _refused(lambda: Sintel(tmp_path), f"{frames}: frame_2.png does not belong there")
    (frames / "frame_2.png").unlink()
    _refused(lambda: Sintel(tmp_path), f"{frames}: frame 1 is followed by frame 3")
    shutil.rmtree(frames)
    _refused(lambda: Sintel(tmp_path), "flow but no frames for alley_1")


def test_sizes_that_differ_are_refused_when_read(tmp_path):
    _sintel(tmp_path)
    _flow(tmp_path / "training" / "flow" / "alley_1" / "frame_0002.flo", 12, (HEIGHT, WIDTH + 1))
    sintel = Sintel(tmp_path)
    sintel[0]
    _refused(lambda: sintel[1], "alley_1/frame_0002", "frame_0002.png 6x4, frame_0003.png 6x4, frame_0002.flo 7x4 px")


def _kitti(root):
    for start, name in ((10, "000000"), (110, "000007")):
        for frame in (10, 11):
            _frame(root / "training" / "image_2" / f"{name}_{frame}.png", start + frame)
        _flow(root / "training" / "flow_occ" / f"{name}_10.png", start)
    return root


def test_kitti_is_sparse_and_uses_frames_10_and_11(tmp_path):
    _kitti(tmp_path)
    _frame(tmp_path / "training" / "image_2" / "000000_09.png", 200)  # the multi-view extension
    kitti = KITTI(tmp_path)
    assert kitti.names == ["000000_10", "000007_10"] and kitti.sparse
    assert _greys_and_flows(kitti) == [(20, 21, 10), (120, 121, 110)]


def test_kitti_with_parts_missing_is_refused(tmp_path):
    frames, flow = (_kitti(tmp_path) / "training" / part for part in ("image_2", "flow_occ"))
    _refused(lambda: KITTI(tmp_path, "test"), "split is 'test'", "training, testing")
    _refused(lambda: KITTI(tmp_path / "training"), "no such folder", "training/flow_occ/000000_10.png")
    (flow / "000007_10.png").unlink()
    _refused(lambda: KITTI(tmp_path), f"{flow}: frames but no flow for 000007")
    (frames / "000007_10.png").unlink()
    _refused(lambda: KITTI(tmp_path), f"{frames}: frame 11 but no frame 10 for 000007")
    (frames / "000007_11.png").unlink()
    (frames / "000000_11.png").unlink()
    _refused(lambda: KITTI(tmp_path), f"{frames}: frame 10 but no frame 11 for 000000")
    (frames / "000000_10.png").unlink()
    _refused(lambda: KITTI(tmp_path), f"{flow}: flow but no frames for 000000")
    (flow / "000000_10.png").unlink()
    _refused(lambda: KITTI(tmp_path), "no KITTI pairs", "training/image_2/000000_10.png")


def _hd1k(root):
    for start, sequence, length in ((10, "000000", 3), (110, "000001", 2)):
        for frame in range(length):
            _frame(root / "hd1k_input" / "image_2" / f"{sequence}_{frame:04d}.png", start + frame)
            _flow(root / "hd1k_flow_gt" / "flow_occ" / f"{sequence}_{frame:04d}.png", start + frame)
    return root


def test_hd1k_leaves_out_the_last_flow_of_each_sequence(tmp_path):
    hd1k = HD1K(_hd1k(tmp_path))
    assert hd1k.names == ["000000_0000", "000000_0001", "000001_0000"] and hd1k.sparse
    assert _greys_and_flows(hd1k) == [(10, 11, 10), (11, 12, 11), (110, 111, 110)]
    flow = tmp_path / "hd1k_flow_gt" / "flow_occ"
    (flow / "000000_0001.png").unlink()
    _refused(lambda: HD1K(tmp_path), f"{flow}: pair of frames but no flow for 000000_0001")
    _flow(flow / "000000_0001.png", 11)
    (tmp_path / "hd1k_input" / "image_2" / "000000_0000.png").unlink()
    _refused(lambda: HD1K(tmp_path), f"{flow}: flow but no", "000000_0000")
    for file in flow.glob("000000*"):
        file.unlink()
    _refused(lambda: HD1K(tmp_path), f"{flow}: frames but no flow for 000000")


def test_hd1k_makes_no_pair_over_a_gap(tmp_path, capsys):
    _hd1k(tmp_path)
    for frame in range(3, 7):
        _frame(tmp_path / "hd1k_input" / "image_2" / f"000000_{frame:04d}.png", 10 + frame)
        _flow(tmp_path / "hd1k_flow_gt" / "flow_occ" / f"000000_{frame:04d}.png", 10 + frame)
    assert HD1K(tmp_path).sequences == ["000000_0000"] * 6 + ["000001_0000"]
    assert not capsys.readouterr().err
    for folder in ("hd1k_input/image_2", "hd1k_flow_gt/flow_occ"):
        (tmp_path / folder / "000000_0002.png").unlink()
    hd1k = HD1K(tmp_path)
    assert "no frames between 000000_0001 and 000000_0003, which are therefore no pair" in capsys.readouterr().err
    assert hd1k.names == [f"000000_{frame:04d}" for frame in (0, 3, 4, 5)] + ["000001_0000"]
    assert hd1k.sequences == ["000000_0000"] + ["000000_0003"] * 3 + ["000001_0000"]


def _middlebury(root):
    for start, scene in ((10, "Dimetrodon"), (110, "Venus"), (210, "Walking")):
        for frame in (9, 10, 11):
            _frame(root / "other-data" / scene / f"frame{frame:02d}.png", start + frame)
        if scene != "Walking":
            _flow(root / "other-gt-flow" / scene / "flow10.flo", start)
    return root


def test_middlebury_takes_the_scenes_with_public_flow(tmp_path):
    middlebury = Middlebury(_middlebury(tmp_path))
    assert middlebury.names == ["Dimetrodon", "Venus"] and not middlebury.sparse
    assert _greys_and_flows(middlebury) == [(20, 21, 10), (120, 121, 110)]

    flow = np.full((2, HEIGHT, WIDTH), 3, np.float32)
    flow[:, 1, 2] = 1.666e9
    write_flo(tmp_path / "other-gt-flow" / "Venus" / "flow10.flo", flow)
    sample = middlebury[1]
    assert sample.valid.sum() == HEIGHT * WIDTH - 1 and sample.valid[1, 2] == 0
    assert sample.flow[:, 1, 2].tolist() == [0, 0]

    (tmp_path / "other-data" / "Venus" / "frame11.png").unlink()
    _refused(lambda: Middlebury(tmp_path), "Venus", "frame11.png: missing")
    shutil.rmtree(tmp_path / "other-gt-flow" / "Venus")
    _refused(lambda: Middlebury(tmp_path), "frames but no flow for Venus")
    shutil.rmtree(tmp_path / "other-data")
    _refused(lambda: Middlebury(tmp_path), "other-data: no such folder", "other-gt-flow/Dimetrodon/flow10.flo")


def _own(root):
    for start, name in ((10, "b+1"), (110, "a")):
        for frame in (1, 2):
            _frame(root / f"{name}_img{frame}.png", start + frame - 1)
        _flow(root / f"{name}_flow.flo", start)
    return root


def test_own_folder_by_patterns_in_one_folder(tmp_path):
    (tmp_path / "notes.txt").write_text("no pattern matches me")
    folder = FlowFolder(_own(tmp_path), "*_img1.png", "*_img2.png", "*_flow.flo")
    assert folder.names == ["a", "b+1"] and not folder.sparse
    assert _greys_and_flows(folder) == [(110, 111, 110), (10, 11, 10)]


def test_own_folder_by_patterns_with_subfolders_and_sparse_flow(tmp_path):
    for start, name in ((10, "x/y/1"), (50, "x/2"), (110, "3")):
        _frame(tmp_path / "frames" / f"{name}.0.png", start)
        _frame(tmp_path / "frames" / f"{name}.1.png", start + 1)
        _flow(tmp_path / "truth" / f"{name}.png", start)
    folder = FlowFolder(tmp_path, "frames/**/*.0.png", "frames/**/*.1.png", "truth/**/*.png")
    assert folder.names == ["3", "x/2", "x/y/1"] and folder.sparse
    assert _greys_and_flows(folder) == [(110, 111, 110), (50, 51, 50), (10, 11, 10)]


def test_own_folder_of_several_endings_some_in_capitals(tmp_path):
    for name, ending in (("a", "png"), ("b", "jpg"), ("c", "PNG")):
        for frame in (1, 2):
            Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / f"{name}_{frame}.{ending}")
        _flow(tmp_path / f"{name}.flo", 0)
    (tmp_path / "._a_1.png").write_bytes(b"of macOS")
    patterns = ("*_1.png|*_1.jpg", "*_2.jpg|*_2.png", "*.flo")
    folder = FlowFolder(tmp_path, *patterns)
    assert folder.names == ["a", "b", "c"] and len(list(map(folder.__getitem__, range(3)))) == 3
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a_1.jpg")
    _refused(lambda: FlowFolder(tmp_path, *patterns), "a_1.png and a_1.jpg are both image1 of pair a")


def test_layouts_with_endings_in_capitals_and_what_macos_leaves(tmp_path):
    for path in _sintel(tmp_path / "sintel").rglob("*.png"):
        path.rename(path.with_suffix(".PNG"))
    (tmp_path / "chairs").mkdir()
    for path in _chairs(tmp_path / "chairs").iterdir():
        path.rename(path.with_suffix(path.suffix.upper()))
    (tmp_path / "chairs" / "._00001_img1.ppm").write_bytes(b"of macOS")
    (tmp_path / "sintel" / "training" / "clean" / "alley_1" / "._frame_0001.png").write_bytes(b"of macOS")
    for data in (Sintel(tmp_path / "sintel"), FlyingChairs(tmp_path / "chairs")):
        assert len(data) and data[0].image1.shape == (3, HEIGHT, WIDTH)


def test_own_folder_follows_links_and_names_one_that_leads_nowhere(tmp_path):
    patterns = ("**/*_img1.png", "**/*_img2.png", "**/*_flow.flo")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "linked").symlink_to(_own(tmp_path / "elsewhere"))
    _frame(tmp_path / "own" / ".hidden_img1.png", 10)
    folder = FlowFolder(tmp_path / "own", *patterns)
    assert folder.names == ["linked/a", "linked/b+1"]
    (tmp_path / "elsewhere" / "a_img2.png").unlink()
    (tmp_path / "elsewhere" / "a_img2.png").symlink_to(tmp_path / "gone.png")
    _refused(lambda: FlowFolder(tmp_path / "own", *patterns)[0], "a_img2.png")


def test_own_folder_with_files_without_partners_is_refused(tmp_path):
    patterns = {"image1": "*_1.png", "image2": "*_2.png", "flow": "*.flo"}
    _refused(lambda: FlowFolder(tmp_path, **patterns), "no FlowFolder pairs", "image1: *_1.png")
    _refused(lambda: FlowFolder(tmp_path / "no", **patterns), "no: no such folder")
    for name in "abcdefg":
        _frame(tmp_path / f"{name}_1.png", 10)
    _frame(tmp_path / "a_2.png", 10)
    _flow(tmp_path / "a.flo", 10)
    _flow(tmp_path / "z.flo", 10)
    _refused(
        lambda: FlowFolder(tmp_path, **patterns),
        "b_1.png without image2 and flow; c_1.png without",
        "and 2 more",
        "image1 '*_1.png' 7, image2 '*_2.png' 1, flow '*.flo' 2",
    )
    for name in "bcdefg":
        (tmp_path / f"{name}_1.png").unlink()
    _refused(lambda: FlowFolder(tmp_path, **patterns), "z.flo without image1 and image2")
    (tmp_path / "z.flo").unlink()
    assert FlowFolder(tmp_path, **patterns).names == ["a"]


def test_patterns_that_do_not_name_pairs_are_refused(tmp_path):
    _frame(tmp_path / "a.png", 10)
    for pattern in ("a.png", "*_*.png", "**/a.png", "*/**/a.png", "**/**/*.png"):
        _refused(lambda pattern=pattern: FlowFolder(tmp_path, pattern, "*_2.png", "*.flo"), f"image1 is {pattern!r}")
    _refused(lambda: FlowFolder(tmp_path, "*.png", "*.png", "*.flo"), "a.png is matched by image1 and image2")


def test_identity_is_of_the_content_wherever_it_lies(tmp_path):
    first, second = Sintel(_sintel(tmp_path / "one")), Sintel(_sintel(tmp_path / "two"))
    assert first.identity() == second.identity()
    assert json.loads(json.dumps(first.identity())) == first.identity()
    assert first.identity()["pairs"] == 4
    known = [first.identity()]

    _flow(tmp_path / "two" / "training" / "flow" / "alley_1" / "frame_0001.flo", 33)  # of the same size
    known.append(Sintel(tmp_path / "two").identity())
    _frame(tmp_path / "two" / "training" / "clean" / "alley_1" / "frame_0003.png", 99)
    known.append(Sintel(tmp_path / "two").identity())
    for part in ("clean", "flow"):
        shutil.move(tmp_path / "two" / "training" / part / "alley_1", tmp_path / "two" / "training" / part / "alley_2")
    known.append(Sintel(tmp_path / "two").identity())
    assert len({value["sha256"] for value in known}) == 4


def test_identity_looks_into_the_middle_of_large_files(tmp_path):
    found = set()
    for value in (1, 2):
        root = tmp_path / str(value)
        _frame(root / "a_1.png", 10)
        _frame(root / "a_2.png", 10)
        flow = np.zeros((2, 40, 60), np.float32)
        flow[0, 20, 30] = value
        write_flo(root / "a.flo", flow)
        found.add(FlowFolder(root, "*_1.png", "*_2.png", "*.flo").identity()["sha256"])
    assert len(found) == 2


def _chairs(root):
    for frame in (1, 2):
        Image.new("RGB", (WIDTH, HEIGHT), (frame, 0, 0)).save(root / f"00001_img{frame}.ppm")
    _flow(root / "00001_flow.flo", 1)
    return root


OPENED = {
    "flying_chairs": lambda root: FlyingChairs(_chairs(root)),
    "flying_things": lambda root: FlyingThings3D(_things(root)),
    "sintel": lambda root: Sintel(_sintel(root)),
    "kitti": lambda root: KITTI(_kitti(root)),
    "hd1k": lambda root: HD1K(_hd1k(root)),
    "middlebury": lambda root: Middlebury(_middlebury(root)),
    "folder": lambda root: FlowFolder(_own(root), "*_img1.png", "*_img2.png", "*_flow.flo"),
    "procedural": lambda root: ProceduralFlow(2, height=16, width=16),
}


@pytest.mark.parametrize("name", FLOW_DATASETS)
def test_every_data_set_of_the_catalogue_says_what_a_training_asks(tmp_path, name):
    dataset = OPENED[name](tmp_path)
    assert isinstance(dataset, FlowDataset) and type(dataset) is FLOW_DATASETS[name]
    assert len(dataset) == len(dataset.names) == len(set(dataset.names)) > 0
    assert dataset.has_flow and dataset.padding in get_args(PaddingMode)
    assert dataset.sequences is None or len(dataset.sequences) == len(dataset)
    identity = dataset.identity()
    assert identity and json.loads(json.dumps(identity)) == identity
    valid = dataset[0].valid
    assert dataset.sparse == (valid.mean() < 1), "in these files, what is sparse is known in the left half alone"


def test_a_data_set_without_an_identity_is_no_part_of_a_training():
    class Nameless(FlowDataset):
        names = ("one",)

    with pytest.raises(NotImplementedError, match="Nameless needs an identity"):
        Nameless().identity()
