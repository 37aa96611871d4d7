"""Fractions of training data sets: nested, fixed, recorded."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

from rwtl.flow.catalogue import FlowData, FlowDataConfig
from rwtl.flow.files import write_flo
from rwtl.learning.fit import fit
from rwtl.learning.recipe import TrainerConfig
from rwtl.learning.tasks.optical_flow import FlowRecipe, OpticalFlowModule
from rwtl.models.raft import build_raft
from rwtl.pipeline.flow_training import TrainingPlan
from rwtl.pipeline.status import digest_of
from rwtl.sampling import BatchesOnDevice, SampleStream
from rwtl.sections import typed

CONF = Path(__file__).parents[2] / "conf"
CROP = {"height": 16, "width": 24, "min_scale": 0.0, "max_scale": 0.2}
FILES = {"name": "folder", "image1": "*_img1.png", "image2": "*_img2.png", "flow": "*_flow.flo"}


def folder(path, pairs):
    """Write pairs of frames, each of another grey, with flow, and return the entry of the catalogue."""
    path.mkdir()
    for pair in range(pairs):
        for frame in (1, 2):
            Image.fromarray(np.full((32, 40, 3), 5 * pair, np.uint8)).save(path / f"{pair:02d}_img{frame}.png")
        write_flo(path / f"{pair:02d}_flow.flo", np.full((2, 32, 40), pair, np.float32))
    return {**FILES, "root": str(path)}


def flow_data(values, catalogue):
    return FlowData.of(typed(FlowDataConfig, values, "flow_data"), catalogue)


SCENES = {"name": "procedural", "height": 32, "width": 48, "mean_displacement": 4.0}


@pytest.fixture(params=["scenes", "files"])
def fractions(request, tmp_path):
    """A function of the keys of flow_data to the data: of 100 procedural scenes, or of 40 pairs of real files."""
    if request.param == "scenes":
        augmentation = None
        entries = {"training": {**SCENES, "size": 100}, "validation": {**SCENES, "size": 2}}
    else:
        augmentation = CROP
        entries = {"training": folder(tmp_path / "training", 40), "validation": folder(tmp_path / "validation", 2)}
    values = {"training": {"training": {"repeats": 2, "augmentation": augmentation}}, "validation": ["validation"]}
    return lambda **keys: flow_data({**values, **keys}, entries)


def digest(data):
    return digest_of("training", data.identity(), {})


def shown(data, seed, epochs=1):
    """The bytes of every sample that a training of this seed sees, in its order."""
    (part,) = data.parts.values()
    return [sample.image1.numpy().tobytes() for sample in SampleStream([part], seed, epochs * len(part))]


def whole(data):
    """The bytes of every sample as it is on disk, or rendered."""
    (part,) = data.parts.values()
    return [part.dataset[part.index(number)].image1.numpy().tobytes() for number in range(part.samples)]


def test_a_smaller_fraction_is_the_beginning_of_a_larger_one(fractions):
    few, more, everything = (whole(fractions(fraction=fraction)) for fraction in (0.02, 0.1, 1.0))
    assert len(set(everything)) == len(everything) and [len(few), len(more)] == [
        round(fraction * len(everything)) for fraction in (0.02, 0.1)
    ]
    assert few == more[: len(few)] and set(more) < set(everything)
    assert more != everything[: len(more)]  # the first pairs of a folder are often of one sequence
    others = whole(fractions(fraction=0.1, subset_seed=1))
    assert set(others) != set(more) and len(others) == len(more)
    assert len(whole(fractions(fraction=1e-6))) == 1


def test_every_seed_trains_on_the_same_subset_in_another_order(fractions):
    data = fractions(fraction=0.1)
    (part,) = data.parts.values()
    assert len(part) == 2 * part.samples
    names = [[part.dataset.names[part.index(n)] for n in numbers(part, seed)] for seed in (1, 1, 2)]
    assert names[0] == names[1] != names[2]
    assert sorted(names[0]) == sorted(names[2]) == sorted(2 * data.drawn()["training"]["names"])
    assert shown(data, seed=1, epochs=2) == shown(fractions(fraction=0.1), seed=1, epochs=2)
    assert shown(data, seed=1) != shown(data, seed=2)


def numbers(part, seed):
    stream = SampleStream([part], seed, len(part))
    return [stream._number(k)[1] for k in range(len(stream))]


def test_what_was_drawn_is_told_by_index_and_name_and_counts(fractions):
    data, everything = fractions(fraction=0.1, subset_seed=3), fractions()
    (part,), (drawn,) = data.parts.values(), data.drawn().values()
    assert json.loads(json.dumps(drawn)) == drawn
    assert drawn["of"] == len(part.dataset) and drawn["samples"] == len(drawn["indices"]) and drawn["subset_seed"] == 3
    assert drawn["names"] == [part.dataset.names[index] for index in drawn["indices"]]
    assert [part.dataset[index].image1.numpy().tobytes() for index in drawn["indices"]] == whole(data)
    assert list(everything.drawn().values()) == [{"samples": len(part.dataset), "of": len(part.dataset)}]
    assert len(data.validation["validation"]) == 2  # whole, whatever the fraction


def test_fractions_have_digests_of_their_own_and_all_of_it_has_the_one_it_had(fractions):
    ways = [{}, {"fraction": 0.5}, {"fraction": 0.1}, {"fraction": 0.1, "subset_seed": 1}]
    assert len({digest(fractions(**keys)) for keys in ways}) == 4
    # What determines nothing does not count: all the samples are the same in whatever way they are asked for.
    assert digest(fractions()) == digest(fractions(fraction=1.0, subset_seed=1)) == digest(fractions(fraction=0.9999))
    data = fractions()
    (part,) = data.identity()["training"]  # as before there were fractions
    assert part == ["training", data.parts["training"].dataset.identity(), 2, data.augmentations["training"]]


def test_passes_of_the_same_scenes_give_the_same_scenes(tmp_path):
    entries = {render: folder(tmp_path / render, 12) for render in ("clean", "final")}
    values = {"training": {"clean": {}, "final": {"repeats": 3}}, "validation": ["clean"], "fraction": 0.25}
    clean, final = flow_data(values, entries).drawn().values()
    assert clean == final and clean["samples"] == 3


def test_scenes_of_a_subset_are_rendered_on_the_device_alike():
    entries = {"scenes": {**SCENES, "size": 50}}
    data = flow_data({"training": {"scenes": {}}, "validation": ["scenes"], "fraction": 0.1}, entries)
    stream = SampleStream(list(data.parts.values()), 1, 10)
    batches = list(BatchesOnDevice(stream, 4, torch.device("cpu")))
    assert [len(batch.flow) for batch in batches] == [4, 4, 2]
    for k, flow in enumerate(torch.cat([batch.flow for batch in batches])):
        torch.testing.assert_close(flow, stream[k].flow, rtol=1e-3, atol=1e-3)
    for process in range(2):
        (share,) = BatchesOnDevice(SampleStream(stream.parts, 1, 8), 4, torch.device("cpu"), 1, process, 2)
        torch.testing.assert_close(share.flow, batches[1].flow[2 * process : 2 * process + 2], rtol=1e-3, atol=1e-3)


def test_a_training_on_a_fraction_sees_that_fraction_alone(fractions, tmp_path):
    data = fractions(fraction=1e-6)
    (part,) = data.parts.values()
    asked = []
    read = type(part.dataset).__getitem__

    class Watched(type(part.dataset)):
        def __getitem__(self, index):
            asked.append(index)
            return read(self, index)

    part.dataset.__class__ = Watched
    recipe = FlowRecipe(
        steps=2, batch_size=2, learning_rate=1e-3, warmup=0.05, cooldown=1, weight_decay=1e-4, gradient_clip=1.0,
        validate_every=2, iterations=1, validation_iterations=1, gamma=0.8, freeze_batchnorm_statistics=False,
    )  # fmt: skip
    where = TrainerConfig("cpu", "32-true", 1, 0, "all_pairs", channels_last=False, scenes_on_device=False)
    module = OpticalFlowModule(build_raft("small"), recipe, data.validation)
    stream = SampleStream([part], 1, 4)
    curve = fit(
        module, recipe, stream, list(data.validation.values()), where, tmp_path, "test", module.metrics, callbacks=[]
    )
    assert list(curve.step) == [0, 2] and curve.epe.nunique() == 2
    assert asked == [data.drawn()["training"]["indices"][0]] * 4


def test_a_fraction_is_a_key_of_every_preset_and_of_a_trainings_digest():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for preset in (file.stem for file in (CONF / "flow_data").glob("*.yaml")):
            cfg = compose("train", overrides=[f"flow_data={preset}"])
            assert (cfg.flow_data.fraction, cfg.flow_data.subset_seed) == (1.0, 0)
        plans = [TrainingPlan.of(compose("train", overrides=[f"flow_data.fraction={f}"])) for f in (0.01, 0.1, 1)]
    assert len({digest_of("training", plan.values(), {}) for plan in plans}) == 3
    assert [len(part) for plan in plans for part in plan.data.parts.values()] == [200, 2000, 20000]
