"""A training that ceases to be finite, or learns from nothing, is an error and no result."""

from dataclasses import replace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torchmetrics import MeanMetric
from trainings import FLOW, NEXT_FRAME, SCENES, SELF_SUPERVISED, WHERE, Clips

from rwtl import files
from rwtl.errors import InputError
from rwtl.flow.sample import FlowDataset
from rwtl.flow.scenes.dataset import ProceduralFlow
from rwtl.learning import checks
from rwtl.learning.fit import fit
from rwtl.learning.recipe import Task
from rwtl.learning.tasks.next_frame import NextFrameModule
from rwtl.learning.tasks.optical_flow import OpticalFlowModule
from rwtl.learning.tasks.self_supervised import SelfSupervisedModule
from rwtl.models.next_frame import build_next_frame
from rwtl.models.raft import build_raft
from rwtl.sampling import Part, SampleStream


class Registered(Task):
    """A source task as a plug-in writes it: one weight, and a metric of torchmetrics with its defaults."""

    def __init__(self, recipe, bad_loss=None, bad_clip=None, weight=1.0):
        super().__init__(torch.nn.Conv2d(1, 1, 1), recipe, None, ["error"])
        self.bad_loss, self.bad_clip, self.weight = bad_loss, bad_clip, weight
        self.validation_metrics = torch.nn.ModuleDict({"error": MeanMetric()})

    def loss(self, clips):
        return (self.model(clips[:, 0]) - clips[:, 1]).square().mean()

    def training_step(self, clips, batch_idx):
        return self.loss(clips) * (torch.inf if self.global_step + 1 == self.bad_loss else 1)

    def validation_step(self, clips, batch_idx):
        error = self.loss(clips) * (torch.nan if batch_idx == self.bad_clip else 1)
        self.validation_metrics["error"].update(error, weight=self.weight)


def train(kind, folder, *callbacks, parts=None, validation=None, where=WHERE, **change):
    torch.manual_seed(3)
    own = {key: change.pop(key) for key in ("bad_loss", "bad_clip", "weight") if key in change}
    recipes = {"optical flow": FLOW, "self-supervised": SELF_SUPERVISED}
    recipe = replace(recipes.get(kind, NEXT_FRAME), **change)
    data = Clips(2 if kind == "self-supervised" else 3)
    if kind == "optical flow":
        data = ProceduralFlow(size=8, **SCENES)
        validation = validation or ProceduralFlow(size=2, split="validation", **SCENES)
        module = OpticalFlowModule(build_raft("small", "batch"), recipe, {"scenes": validation})
    elif kind == "self-supervised":
        module = SelfSupervisedModule(build_raft("small", "batch"), recipe, "grey")
    elif kind == "next frame":
        module = NextFrameModule(build_next_frame("small", "batch", 1, decoder="warp", context="features"), recipe, 0.5)
    else:
        module = Registered(recipe, **own)
    folder.mkdir(exist_ok=True)
    stream = SampleStream(parts or [Part(data)], 1, recipe.steps * recipe.batch_size)
    fit(module, recipe, stream, [validation or data], where, folder, "test", module.metrics, list(callbacks))
    return module


@pytest.mark.parametrize("kind", ["optical flow", "self-supervised", "next frame", "registered"])
@pytest.mark.parametrize("steps", [1, 13])
def test_a_training_that_diverges_is_an_error(kind, steps, tmp_path):
    """Shorter than ten steps, and after the last multiple of ten."""
    change = {"steps": steps, "validate_every": steps, "learning_rate": 1e30, "gradient_clip": 1e30}
    with pytest.raises(
        InputError, match=r"^test: the (loss|validation's \w+) is (nan|inf) at step \d+; lower the learn"
    ):
        train(kind, tmp_path, **change)
    assert not (tmp_path / files.CHECKPOINT).exists()


@pytest.mark.parametrize(
    ("step", "remedy"),
    [(1, "look for values in the data that are"), (7, "lower the learning rate"), (13, "lower the learning")],
)
def test_the_first_step_whose_loss_is_not_finite_is_named(step, remedy, tmp_path):
    with pytest.raises(InputError, match=rf"^test: the loss is inf at step {step}; {remedy}"):
        train("registered", tmp_path, steps=13, validate_every=13, bad_loss=step)


def test_the_loss_is_looked_at_now_and_then_alone(tmp_path, monkeypatch):
    """A GPU would be waited for at each look."""
    looks = []
    look = checks.Checks._look
    monkeypatch.setattr(checks.Checks, "_look", lambda self, *rest: (looks.append(len(self.losses)), look(self, *rest)))
    train("registered", tmp_path, steps=25, validate_every=25)
    assert looks == [0, 10, 10, 5, 0]  # with those at validations, and before the checkpoint


def test_a_loss_that_is_not_finite_comes_into_no_checkpoint(tmp_path):
    with pytest.raises(InputError, match=r"^test: the loss is inf at step 3; lower the learning rate"):
        train("registered", tmp_path, where=replace(WHERE, checkpoint_minutes=0), validate_every=6, bad_loss=3)
    assert torch.load(tmp_path / files.CHECKPOINT, weights_only=True)["global_step"] == 2


class Poison(pl.Callback):
    """Makes a weight infinite that neither loss nor metrics depend on, at a hook."""

    def __init__(self, hook):
        setattr(self, hook, self.poison)

    def poison(self, trainer, module, *_):
        module.unused = torch.nn.Parameter(torch.tensor([1.0, torch.inf]))


@pytest.mark.parametrize(("hook", "when"), [("on_train_start", "at step 2"), ("on_train_end", "after 6 steps")])
def test_a_weight_that_is_not_finite_is_named(hook, when, tmp_path):
    with pytest.raises(InputError, match=rf"^test {when}: unused hold values that are not finite; lower the learning"):
        train("registered", tmp_path, Poison(hook))
    assert (tmp_path / files.CHECKPOINT).exists() == (hook == "on_train_end")


def test_a_checkpoint_that_is_not_finite_is_named(tmp_path):
    train("registered", tmp_path)
    checkpoint = torch.load(tmp_path / files.CHECKPOINT, weights_only=True)
    checkpoint["state_dict"]["model.bias"][0] = torch.nan
    torch.save(checkpoint, tmp_path / files.CHECKPOINT)
    with pytest.raises(
        InputError, match=rf"{files.CHECKPOINT}: model\.bias holds values that are not finite; remove it"
    ):
        train("registered", tmp_path)


def test_a_metric_of_a_registered_task_does_not_leave_out_what_is_no_number(tmp_path):
    with pytest.raises(
        InputError, match=r"^test: the validation's error is nan at step 0; look for values in the data"
    ):
        train("registered", tmp_path, bad_clip=1)


def test_a_mean_over_nothing_may_be_no_number(tmp_path):
    train("registered", tmp_path, weight=0.0)
    rows = (tmp_path / files.METRICS).read_text().splitlines()
    assert rows[0].endswith("error") and rows[-1].endswith(",")


def test_frames_that_are_no_numbers_are_no_success(tmp_path):
    class Damaged(Clips):
        def __getitem__(self, number):
            return super().__getitem__(number) * torch.nan

    with pytest.raises(InputError, match=r"^test: the loss is nan at step 1; look for values in the data"):
        train("next frame", tmp_path, parts=[Part(Damaged())], validation=Clips())


def test_a_flow_that_is_not_finite_is_no_flow_of_zero(tmp_path):
    """To the warped frame the two are alike, and nothing is occluded."""

    class Diverged(pl.Callback):
        def on_validation_start(self, trainer, module):
            nothing = torch.full((2, 2, 32, 32), torch.nan)
            module.model.estimate = lambda *_: type("Estimate", (), {"flow": nothing})()

    with pytest.raises(InputError, match=r"^test: the validation's photometric is nan at step 0"):
        train("self-supervised", tmp_path, Diverged())


class Scenes(FlowDataset):
    """Scenes whose flow is in another unit, or is not known, in the samples from a number on."""

    def __init__(self, factor=1.0, known=1.0, first=0):
        self.scenes = ProceduralFlow(size=8, **SCENES)
        self.names = self.scenes.names
        self.factor, self.known, self.first = factor, known, first

    def __len__(self):
        return len(self.scenes)

    def __getitem__(self, number):
        sample = self.scenes[number]
        changed = sample._replace(flow=self.factor * sample.flow, valid=self.known * sample.valid)
        return changed if number >= self.first else sample


def nothing_counts(names, samples):
    return (
        rf"^test learns nothing from {names}: of {samples} samples in a row 0 of {samples * 1024:,} pixels count, "
        r"which are those whose flow is known and shorter than 400 px: check in which unit"
    )


@pytest.mark.parametrize("change", [{"factor": 1e5}, {"known": 0.0}, {"factor": np.inf}])
def test_a_training_in_which_nothing_counts_is_an_error(change, tmp_path):
    with pytest.raises(InputError, match=nothing_counts("mine", 12)):
        train("optical flow", tmp_path, parts=[Part(Scenes(**change), name="mine")])
    with pytest.raises(InputError, match=nothing_counts("mine", 12)):  # when the last checkpoint is gone on with, too
        train("optical flow", tmp_path, parts=[Part(Scenes(**change), name="mine")])


def test_a_data_set_of_a_mixture_in_which_nothing_counts_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "BARREN", 4)
    parts = [Part(Scenes(), name="sound"), Part(Scenes(factor=1e5), name="in_mm")]
    with pytest.raises(InputError, match=r"^test learns nothing from in_mm: of [4-9] samples in a row 0 of"):
        train("optical flow", tmp_path, parts=parts)


def test_batches_in_which_nothing_counts_are_no_error_where_flow_is_sparse(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "BARREN", 12)
    train("optical flow", tmp_path, parts=[Part(Scenes(known=0.0, first=3))], batch_size=1, steps=12)


def test_a_validation_in_which_nothing_is_known_names_the_data_set(tmp_path):
    with pytest.raises(InputError, match=r"^0 pixels of the data set scenes have a known flow"):
        train("optical flow", tmp_path, validation=Scenes(known=0.0))


def test_what_is_occluded_everywhere_teaches_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "BARREN", 4)
    with pytest.raises(InputError, match=r"learns nothing from Clips: .* raise pretraining\.occlusion_from$"):
        monkeypatch.setattr(
            "rwtl.learning.tasks.self_supervised.occluded", lambda there, back: torch.ones_like(there[:, 0]) > 0
        )
        train("self-supervised", tmp_path, occlusion_from=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factor", "change", "said"),
    [
        (
            1.0,
            {"learning_rate": 1e30, "gradient_clip": 1e30},
            r"^test: the loss is (nan|inf) at step \d; lower the learning",
        ),
        (1e5, {}, nothing_counts("mine", 12)),
    ],
)
def test_two_processes_see_what_one_does(factor, change, said, tmp_path):
    with pytest.raises(InputError, match=said):
        train(
            "optical flow",
            tmp_path,
            parts=[Part(Scenes(factor), name="mine")],
            where=replace(WHERE, devices=2),
            **change,
        )
