"""Evaluation and submission in the layouts of MPI-Sintel and KITTI."""

from inspect import unwrap

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from rwtl import files
from rwtl.errors import InputError
from rwtl.flow.catalogue import of_catalogue, open_with_flow
from rwtl.flow.files import read_flo, read_kitti_flow, write_flo, write_kitti_flow
from rwtl.flow.layouts import KITTI, Sintel
from rwtl.flow.sample import FlowDataset
from rwtl.flow.scenes.dataset import ProceduralFlow
from rwtl.learning.evaluation import EstimationConfig, estimates, evaluate, not_finite, pooled, print_evaluation
from rwtl.models.parts import carry_forward
from rwtl.models.raft import build_raft
from rwtl.pipeline.artifact import build
from rwtl.pipeline.evaluation import EvaluationArtifact, write_submission, writer_of

CPU = torch.device("cpu")


def save_image(path, rng, height, width):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def sintel(tmp_path):
    rng = np.random.default_rng(0)
    for split, renders in (("training", ("clean",)), ("test", ("clean", "final"))):
        for render in renders:
            for sequence in ("alley_1", "bamboo_2"):
                for frame in (1, 2, 3):
                    save_image(tmp_path / split / render / sequence / f"frame_{frame:04d}.png", rng, 40, 56)
    for sequence in ("alley_1", "bamboo_2"):
        for frame in (1, 2):
            path = tmp_path / "training" / "flow" / sequence / f"frame_{frame:04d}.flo"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_flo(path, rng.normal(0, 5, (2, 40, 56)).astype(np.float32))
    return tmp_path


@pytest.fixture
def kitti(tmp_path):
    rng = np.random.default_rng(1)
    for split in ("training", "testing"):
        for frame in (10, 11):
            save_image(tmp_path / split / "image_2" / f"000000_{frame}.png", rng, 37, 50)
    (tmp_path / "training" / "flow_occ").mkdir()
    known = (rng.random((37, 50)) < 0.3).astype(np.float32)
    flow = rng.normal(0, 5, (2, 37, 50)).astype(np.float32)
    write_kitti_flow(tmp_path / "training" / "flow_occ" / "000000_10.png", flow, known)
    return tmp_path


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_raft("small").eval()


def estimated(model, sample, **options):
    return model.estimate(sample.image1[None], sample.image2[None], **options)


def test_a_warm_start_goes_on_within_a_sequence_and_begins_anew_with_the_next(sintel, model):
    data = Sintel(sintel, "clean", "training")
    cold, warm = (evaluate(model, {"sintel": data}, 2, start, "test", CPU) for start in (False, True))
    assert list(warm.pair) == data.names and data.names[1] == "alley_1/frame_0002"
    assert (cold.epe == warm.epe).tolist() == [True, False, True, False]
    first = estimated(model, data[2], iterations=2)
    second = estimated(model, data[3], iterations=2, initial=carry_forward(first.coarse)).flow[0]
    assert warm.epe[3] == pytest.approx(float((second - data[3].flow).norm(dim=0).mean()), rel=1e-5)


def test_kitti_is_padded_its_way_and_counts_known_pixels(kitti, model):
    data = KITTI(kitti)
    errors = evaluate(model, {"kitti": data}, 2, False, "test", CPU)
    sample = data[0]
    difference = (estimated(model, sample, iterations=2, padding="kitti").flow[0] - sample.flow).norm(dim=0)
    assert errors.pixels[0] == sample.valid.sum() < 37 * 50
    assert errors.epe[0] == pytest.approx(float(difference[sample.valid > 0].mean()), rel=1e-5)
    assert pooled(errors).epe_of_pairs[0] == pytest.approx(errors.epe[0])


def test_a_test_split_holds_nothing_to_compare_with(sintel):
    catalogue = {"sintel_test": {"name": "sintel", "root": str(sintel), "split": "test"}}
    with pytest.raises(InputError, match=r"sintel_test holds no flow .* rwtl submit"):
        open_with_flow("sintel_test", catalogue)
    assert len(of_catalogue("sintel_test", catalogue)) == 4


def test_precision_is_that_of_the_evaluation(kitti, model):
    exact, half = (evaluate(model, {"k": KITTI(kitti)}, 2, False, "", CPU, p) for p in ("32-true", "bf16-mixed"))
    assert half.epe[0] != exact.epe[0] and half.epe[0] == pytest.approx(exact.epe[0], rel=0.1)


def test_a_sintel_submission_holds_every_pair_of_both_renders(sintel, model, tmp_path):
    datasets = {render: Sintel(sintel, render, "test") for render in ("clean", "final")}
    config = EstimationConfig(list(datasets), iterations=2, warm_start=True)
    assert write_submission(model, datasets, config, tmp_path / "out", CPU, "32-true") == 8
    files = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.flo"))
    assert files[:3] == [
        f"clean/{name}.flo" for name in ("alley_1/frame0001", "alley_1/frame0002", "bamboo_2/frame0001")
    ]
    first = estimated(model, datasets["final"][2], iterations=2)
    second = estimated(model, datasets["final"][3], iterations=2, initial=carry_forward(first.coarse))
    for number, estimate in ((1, first), (2, second)):
        written = read_flo(tmp_path / "out" / "final" / "bamboo_2" / f"frame{number:04d}.flo")
        np.testing.assert_allclose(written, estimate.flow[0].numpy(), atol=1e-5)


def test_a_kitti_submission_is_to_a_64th_of_a_pixel(kitti, model, tmp_path):
    data = KITTI(kitti, "testing")
    write_submission(model, {"kitti": data}, EstimationConfig(["kitti"], 2, False), tmp_path / "out", CPU, "32-true")
    written, known = read_kitti_flow(tmp_path / "out" / "000000_10.png")
    expected = estimated(model, data[0], iterations=2, padding="kitti").flow[0].numpy()
    assert known.all() and np.abs(written - expected).max() <= 1 / 128 + 1e-6


def test_a_kitti_submission_says_what_its_format_cuts_off(kitti, model, tmp_path, capsys):
    data, config = KITTI(kitti, "testing"), EstimationConfig(["kitti"], 2, False)
    far = build_raft("small").eval()
    far.load_state_dict(model.state_dict())
    far.update_block.flow_head.conv2.bias.data += 1000
    write_submission(far, {"kitti": data}, config, tmp_path / "out", CPU, "32-true")
    said = f"note: {37 * 50} displacements of 1 pairs lie outside of -512 to 511.98 px, which is what KITTI's format"
    assert said in capsys.readouterr().err
    assert (read_kitti_flow(tmp_path / "out" / "000000_10.png")[0] == 511.984375).all()
    write_submission(model, {"kitti": data}, config, tmp_path / "near", CPU, "32-true")
    assert "note" not in capsys.readouterr().err


def test_no_benchmark_takes_other_data(tmp_path):
    with pytest.raises(InputError, match="no submission format for scenes"):
        writer_of("scenes", ProceduralFlow(1), tmp_path)


@pytest.mark.parametrize(("datasets", "iterations"), [([], 1), (["a", "a"], 1), (["a"], 0)])
def test_senseless_evaluations_are_refused(datasets, iterations):
    with pytest.raises(InputError, match=r"(datasets|iterations) is"):
        EstimationConfig(datasets, iterations, False)


class Broken(FlowDataset):
    """Scenes of which some show a white frame, and some have no known flow."""

    def __init__(self, infinite=(), unknown=()):
        self.scenes = ProceduralFlow(size=4, height=32, width=40, mean_displacement=2.0)
        self.names, self.infinite, self.unknown = self.scenes.names, infinite, unknown

    def __len__(self):
        return len(self.scenes)

    def __getitem__(self, number):
        sample = self.scenes[number]
        if number in self.infinite:
            sample.image1[:] = 255
        if number in self.unknown:
            sample.valid[:] = 0
        return sample


@pytest.fixture
def fragile(model):
    """A model of which white frames make nothing."""

    def no_number(module, images, features):
        return features + torch.where((images[0] == 1).all(), torch.nan, 0)

    hook = model.feature_encoder.register_forward_hook(no_number)
    yield model
    hook.remove()


def test_tables_say_nan_and_name_the_pairs(fragile, capsys):
    errors = evaluate(fragile, {"broken": Broken([1, 3], [2]), "sound": Broken()}, 1)
    assert not_finite(errors) == {"broken": ["scene 1", "scene 3"]}
    print_evaluation(errors)
    told, warned = capsys.readouterr()
    lines = {
        line.split("│")[1].strip() + " " + line.split("│")[2].strip(): line for line in told.splitlines() if "│" in line
    }
    bad, unknown, every, sound = (
        lines[name] for name in ("broken scene 1", "broken scene 2", "broken all 4", "sound all 4")
    )
    cells = [[cell.strip() for cell in line.split("│")[3:-1]] for line in (bad, unknown, every, sound)]
    assert cells[0][:6] == ["nan", "0.00", "0.00", "0.00", "100.00", "nan"] and cells[0][7] == "-"
    assert set(cells[1][:-1]) == {"-"}
    assert cells[2][0] == cells[2][-1] == "nan" and float(cells[2][4]) > 66
    assert "nan" not in "".join(cells[3])
    assert "on broken the estimate is not finite, and so no estimate, for scene 1, scene 3\n" in warned
    assert "on sound" not in warned


def test_a_frame_that_is_not_finite_is_named_with_its_pair(model):
    data = Broken()
    broken = [data[0], data[1]._replace(image2=torch.full((3, 32, 40), torch.nan))]
    data.__class__ = type("Mine", (Broken,), {"__getitem__": lambda self, number: broken[number]})
    with pytest.raises(InputError, match=r"^Mine, scene 1: image2 holds 3840 values that are not finite, the first at"):
        evaluate(model, data, 1)


@pytest.mark.parametrize("given", ["sintel", [1]])
def test_what_is_no_data_set_is_named(model, given):
    with pytest.raises(InputError, match=r"^datasets is a (str|list); it must be a data set, or several by name"):
        unwrap(evaluate)(model, given, 1)


def test_a_data_set_of_which_nothing_is_known_is_named(model):
    with pytest.raises(InputError, match=r"^0 pixels of the data set unknown have a known flow"):
        evaluate(model, {"sound": Broken(), "unknown": Broken(unknown=range(4))}, 1)


@pytest.mark.parametrize(("infinite", "finite"), [([1], False), ([], True)])
def test_an_evaluation_that_is_no_number_somewhere_is_no_objective(infinite, finite, tmp_path, fragile):
    errors = evaluate(fragile, {"one": Broken(infinite), "two": Broken()}, 1)
    make = lambda folder: errors.to_csv(folder / files.ERRORS, index=False)  # noqa: E731
    assert np.isfinite(build(EvaluationArtifact("evaluation", "test", {}, make, tmp_path)).objective) == finite


def test_tiles_as_large_as_the_frames_are_whole_frames_and_smaller_ones_are_estimated_alone():
    data = ProceduralFlow(size=2, height=40, width=64, mean_displacement=3)
    torch.manual_seed(0)
    model = build_raft("small")
    whole, one, tiled = (evaluate(model, data, 2, tile=tile) for tile in (None, (40, 64), (24, 32)))
    pd.testing.assert_frame_equal(whole, one, rtol=1e-4)
    assert (tiled.epe != whole.epe).all() and (tiled.no_motion == whole.no_motion).all()
    sample = data[0]
    images = [image[None, :, :24, :32] for image in sample[:2]]
    alone = model.estimate(*images, 2).flow[0, :, :16, :16]
    (_, _, flow), *_ = estimates(model, data, 2, False, torch.device("cpu"), "32-true", (24, 32))
    torch.testing.assert_close(flow[0, :, :16, :16], alone, rtol=1e-4, atol=1e-4)


def test_a_tile_that_makes_no_sense_is_said_and_none_leaves_the_digest_as_it_was():
    assert EstimationConfig(["a"], None, False).identity() == {
        "datasets": ["a"],
        "iterations": None,
        "warm_start": False,
    }
    assert EstimationConfig(["a"], None, False, [8, 8]).identity()["tile"] == [8, 8]
    with pytest.raises(InputError, match=r"tile is \[8\]; give height and width"):
        EstimationConfig(["a"], None, False, [8])
    with pytest.raises(InputError, match="warm_start is true, which needs whole frames"):
        EstimationConfig(["a"], None, True, [8, 8])
