"""The training of RAFT as a whole, at a tiny scale."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from rwtl.errors import InputError
from rwtl.flow.colour_wheel import flow_to_colour
from rwtl.flow.scenes.dataset import ProceduralFlow
from rwtl.learning.fit import fit
from rwtl.learning.metrics import METRICS
from rwtl.learning.recipe import TrainerConfig
from rwtl.learning.tasks.optical_flow import FlowRecipe, OpticalFlowModule
from rwtl.models.encoder import batch_norms
from rwtl.models.raft import build_raft
from rwtl.sampling import Part, SampleStream
from rwtl.tracking.pictures import FlowPictures, flow_picture

SCENES = {"height": 32, "width": 48, "mean_displacement": 4.0}
RECIPE = FlowRecipe(
    steps=4,
    batch_size=2,
    learning_rate=1e-3,
    warmup=0.05,
    cooldown=1,
    weight_decay=1e-4,
    gradient_clip=1.0,
    validate_every=2,
    iterations=2,
    validation_iterations=3,
    gamma=0.8,
    freeze_batchnorm_statistics=False,
)
WHERE = TrainerConfig("cpu", "32-true", 1, 0, "all_pairs", channels_last=False, scenes_on_device=False)


def train(model, folder, recipe=RECIPE, where=WHERE, validation=None, part=None):
    validation = validation or {"near": ProceduralFlow(size=2, split="validation", **SCENES)}
    stream = SampleStream([part or Part(ProceduralFlow(size=8, **SCENES))], 1, recipe.steps * recipe.batch_size)
    module = OpticalFlowModule(model, recipe, validation)
    pictures = [FlowPictures(folder / "pictures", list(validation))]
    datasets = list(validation.values())
    return fit(module, recipe, stream, datasets, where, folder, "test", module.metrics, pictures)


def test_every_data_set_is_validated_and_pictured(tmp_path):
    torch.manual_seed(0)
    model = build_raft("small")
    validation = {
        "near": ProceduralFlow(size=2, split="validation", **SCENES),
        "far": ProceduralFlow(size=3, split="test", **{**SCENES, "mean_displacement": 8.0}),
    }
    curve = train(model, tmp_path, validation=validation)
    assert list(curve.columns) == ["step", *METRICS, *(f"far/{metric}" for metric in METRICS)]
    assert list(curve.step) == [0, 2, 4] and (curve.epe != curve["far/epe"]).all()
    model.eval()
    errors = [
        (model.estimate(s.image1[None], s.image2[None], RECIPE.validation_iterations).flow[0] - s.flow)
        .norm(dim=0)
        .mean()
        for s in validation["far"]
    ]
    assert curve["far/epe"].iloc[-1] == pytest.approx(float(torch.stack(errors).mean()), rel=1e-4)
    for name in validation:
        files = sorted(path.name for path in (tmp_path / "pictures" / name).iterdir())
        assert files == [f"step_{step:06d}.png" for step in (0, 2, 4)]
        assert Image.open(tmp_path / "pictures" / name / files[0]).size == (4 * 48, 32)


def test_a_picture_shows_frame_truth_estimate_and_error():
    image = np.full((3, 4, 5), 100, np.float32)
    flow = np.zeros((2, 4, 5), np.float32)
    flow[0] = 8
    estimated, valid = flow.copy(), np.ones((4, 5), np.float32)
    estimated[1, 0, 0] = 4  # half of the longest displacement
    valid[3] = 0
    frame, truth, estimate, error = np.split(flow_picture(image, flow, valid, estimated), 4, axis=1)
    assert (frame == 100).all()
    assert (truth[:3] == flow_to_colour(flow, 8.0)[:3]).all() and (truth[3] == 0).all()
    assert (estimate == flow_to_colour(estimated, 8.0)).all()
    assert error[0, 0].tolist() == [127] * 3 and error.sum() == 3 * 127


def test_an_error_that_is_not_finite_is_green_and_not_black():
    image, valid = np.full((3, 4, 5), 100, np.float32), np.ones((4, 5), np.float32)
    flow = np.full((2, 4, 5), 8, np.float32)
    estimated = flow.copy()
    estimated[0, 0, 0], estimated[:, 1, 1], estimated[0, 3, 3] = np.nan, np.inf, np.nan
    valid[3] = 0
    *_, estimate, error = np.split(flow_picture(image, flow, valid, estimated), 4, axis=1)
    assert error[0, 0].tolist() == error[1, 1].tolist() == [0, 255, 0] and error.sum() == 2 * 255
    assert (estimate == 0).all(axis=-1).sum() == 3


@pytest.mark.parametrize("frozen", [True, False])
def test_batchnorm_statistics_stay_where_the_schedule_says_so_and_weights_move(frozen, tmp_path):
    model = build_raft("small", "batch")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train(model, tmp_path, dataclasses.replace(RECIPE, freeze_batchnorm_statistics=frozen))
    after = model.state_dict()
    for layer in batch_norms(model):
        for statistic in ("running_mean", "running_var", "num_batches_tracked"):
            name = f"{layer}.{statistic}"
            assert torch.equal(after[name], before[name]) == frozen, name
        assert not torch.equal(after[f"{layer}.weight"], before[f"{layer}.weight"])


def curve_of(folder, **change):
    """The curve of a training that is run in another way."""
    where = dataclasses.replace(WHERE, **change)
    torch.manual_seed(0)
    return train(build_raft("small", correlation=where.correlation), folder, where=where)


@pytest.fixture(scope="module")
def as_ever(tmp_path_factory):
    return curve_of(tmp_path_factory.mktemp("as_ever"))


@pytest.mark.parametrize(
    "change",
    [{"correlation": "on_demand"}, {"channels_last": True}, {"scenes_on_device": True}, {"data_workers": 1}],
)
@pytest.mark.slow
def test_how_it_runs_changes_a_training_by_rounding_only(change, as_ever, tmp_path):
    np.testing.assert_allclose(curve_of(tmp_path, **change).epe, as_ever.epe, rtol=1e-3)
    assert as_ever.epe.nunique() == 3


@pytest.mark.slow
def test_bf16_trains_to_nearly_the_same(as_ever, tmp_path):
    curve = curve_of(tmp_path, precision="bf16-mixed")
    np.testing.assert_allclose(curve.epe, as_ever.epe, rtol=0.1)
    assert not np.array_equal(curve.epe, as_ever.epe)


def test_only_procedural_scenes_are_rendered_on_the_device(tmp_path):
    where = dataclasses.replace(WHERE, scenes_on_device=True)
    part = Part(ProceduralFlow(size=8, **SCENES), [lambda sample, rng: sample])
    with pytest.raises(InputError, match=r"trainer\.scenes_on_device renders procedural scenes alone"):
        train(build_raft("small"), tmp_path, where=where, part=part)


def test_a_batch_of_different_sizes_is_refused_with_the_remedy(tmp_path):
    class Ragged(torch.utils.data.Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return ProceduralFlow(1, height=32 + 8 * index, width=48)[0]

    with pytest.raises(InputError, match=r"samples of (32×48 and 40×48|40×48 and 32×48) px.*augmentation a crop"):
        train(build_raft("small"), tmp_path, part=Part(Ragged()))
