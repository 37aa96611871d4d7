import subprocess
import sys

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Subset

from rwtl.errors import InputError
from rwtl.learning.skill import copy_last, extrapolate, skill_table
from rwtl.learning.tasks.next_frame import NextFrameModule, PretrainingRecipe, activity_weights
from rwtl.models.next_frame import build_next_frame, warp
from rwtl.models.raft import build_raft

RECIPE = dict(
    steps=4,
    batch_size=2,
    learning_rate=1e-3,
    warmup=0.5,
    cooldown=1,
    weight_decay=0.0,
    gradient_clip=1.0,
    validate_every=2,
    iterations=1,
    decoder="warp",
    context="features",
    loss="mse",
    active_weight=0.0,
    validation_clips=1,
    seed=1,
)


def recipe(**values) -> PretrainingRecipe:
    return PretrainingRecipe(**RECIPE | values)


def model_of(norm="batch", **options):
    """A small model whose decoder has left its beginning, where it corrects nothing."""
    torch.manual_seed(0)
    model = build_next_frame("small", norm, iterations=2, **options)
    torch.nn.init.normal_(model.decoder.conv2.weight, std=0.1)
    return model


def test_warp_samples_where_the_flow_points_and_repeats_the_border():
    frame = torch.arange(16.0).reshape(1, 1, 4, 4)
    flow = torch.zeros(1, 2, 4, 4)
    flow[:, 0] = 1.0
    assert torch.allclose(warp(frame, flow)[..., :3], frame[..., 1:], atol=1e-5)
    assert torch.allclose(warp(frame, flow)[..., 3], frame[..., 3], atol=1e-5)


DIVERGED = """
import torch
from rwtl.models.next_frame import warp
for value in ("nan", "inf", "1e20", "-1e30"):
    frame = torch.rand(2, 1, 16, 16, requires_grad=True)
    flow = torch.full((2, 2, 16, 16), float(value), requires_grad=True)
    warp(frame, flow).sum().backward()
    assert frame.grad.isfinite().all() and not flow.grad.any(), value
"""


def test_a_flow_that_diverged_does_not_crash_the_process():
    assert subprocess.run([sys.executable, "-c", DIVERGED]).returncode == 0


def test_the_motion_that_the_decoder_expects_carries_a_moving_front_on():
    """A front moves 2 px to the right per frame: the motion from I2 to I1 is -2 px, and warping I2 by it gives I3."""
    ramp = torch.sigmoid(torch.arange(24.0) - 8).expand(1, 1, 16, 24)
    frame2, frame3 = torch.roll(ramp, 2, dims=-1), torch.roll(ramp, 4, dims=-1)
    motion = torch.zeros(1, 2, 16, 24)
    motion[:, 0] = -2.0
    inner = (..., slice(6, 20))
    assert torch.allclose(warp(frame2, motion)[inner], frame3[inner], atol=1e-5)


@pytest.mark.parametrize("context", ["features", "context_encoder"])
@pytest.mark.parametrize("decoder", ["warp", "direct"])
def test_every_decoder_and_context_predicts_whole_frames_and_trains_all_its_parts(decoder, context):
    torch.manual_seed(0)
    model = build_next_frame("small", "batch", 2, colour="rgb", decoder=decoder, context=context)
    clips = torch.rand(2, 4, 3, 20, 28)
    predicted = model(clips[:, :-1])
    assert predicted.shape == (2, 2, 3, 20, 28)
    F.mse_loss(predicted, clips[:, 2:]).backward()
    assert model.decoder.conv2.weight.grad.abs().sum() > 0

    torch.nn.init.normal_(model.decoder.conv2.weight, std=0.1)
    F.mse_loss(model(clips[:, :-1]), clips[:, 2:]).backward()
    for name, parameter in model.named_parameters():
        if "conv1.weight" in name or name.startswith("projection"):
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_the_warp_decoder_begins_as_pure_motion():
    torch.manual_seed(0)
    model = build_next_frame("small", "instance", 1).eval()
    torch.nn.init.zeros_(model.update_block.flow_head.conv2.weight)
    torch.nn.init.zeros_(model.update_block.flow_head.conv2.bias)
    frames = torch.rand(1, 3, 1, 19, 24)
    assert torch.allclose(model(frames), frames[:, 1:], atol=1e-5)


@pytest.mark.parametrize("context", ["features", "context_encoder"])
def test_no_prediction_depends_on_later_frames_and_later_ones_depend_on_earlier_frames(context):
    model = model_of(context=context).eval()
    frames = torch.rand(1, 4, 1, 24, 24, requires_grad=True)
    for step in range(3):
        (gradient,) = torch.autograd.grad(model(frames)[:, step].square().sum(), frames)
        depends = gradient.abs().amax(dim=(0, 2, 3, 4)) > 0
        assert depends.tolist() == [frame <= step + 1 for frame in range(4)]

    with torch.no_grad():
        other = frames.clone()
        other[:, 3] = 0
        assert torch.allclose(model(other)[:, :2], model(frames)[:, :2], atol=1e-6)
        # The frames from which the last prediction is made are the same: what differs was carried on.
        assert (model(frames[:, 1:])[:, -1] - model(frames)[:, -1]).abs().max() > 1e-3
        shuffled = frames[:, [1, 0, 2, 3]]
        assert (model(shuffled)[:, -1] - model(frames)[:, -1]).abs().max() > 1e-3


def test_gradients_reach_early_frames_through_the_hidden_state():
    model = model_of(decoder="direct").eval()
    torch.nn.init.zeros_(model.update_block.flow_head.conv2.weight)  # no motion is carried on
    torch.nn.init.zeros_(model.update_block.flow_head.conv2.bias)
    frames = torch.rand(1, 4, 1, 24, 24, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(frames)[:, -1].square().sum(), frames)
    assert (gradient.abs().amax(dim=(0, 2, 3, 4)) > 0).all()


def test_frames_are_encoded_as_raft_sees_images():
    """Grey 0..1 is RGB -1..1, in the order I1, I2 of one batch."""
    model = model_of("none").eval()
    seen = []
    model.feature_encoder.register_forward_hook(lambda module, given, found: seen.append(given[0]))
    frames = torch.rand(2, 3, 1, 16, 16)
    model(frames)
    assert len(seen) == 1
    assert torch.equal(seen[0], (2 * frames - 1).expand(2, 3, 3, 16, 16).flatten(0, 1))


def test_colours_reach_the_encoder():
    frames = torch.rand(1, 2, 1, 16, 16)
    grey, blue_red = (model_of(colour=colour).eval()(frames) for colour in ("grey", "blue_red"))
    assert (grey - blue_red).abs().max() > 1e-3
    with pytest.raises(InputError, match="frames of colour rgb have 3 channels, not 1"):
        model_of(colour="rgb")(frames)


@pytest.mark.parametrize("variant", ["basic", "small"])
def test_shared_parts_have_the_names_and_shapes_of_rafts(variant):
    raft = build_raft(variant, "instance").state_dict()
    parts = ("feature_encoder.", "context_encoder.", "update_block.")
    ours = build_next_frame(variant, "instance", 1, context="context_encoder").state_dict()
    shapes = [
        {name: tensor.shape for name, tensor in weights.items() if name.startswith(parts)} for weights in (ours, raft)
    ]
    assert shapes[0] == shapes[1] and len(shapes[0]) > 50
    assert {name.split(".")[0] for name in ours} == {"feature_encoder", "context_encoder", "update_block", "decoder"}
    default = build_next_frame(variant, "instance", 1).state_dict()
    assert {name.split(".")[0] for name in default} == {"feature_encoder", "projection", "update_block", "decoder"}


def test_wrong_choices_are_refused():
    for key, value in (("variant", "large"), ("decoder", "mirror"), ("context", "none")):
        with pytest.raises(InputError, match=f"{key} is '{value}'; choose one of"):
            build_next_frame(**{"variant": "small", "feature_norm": "batch", "iterations": 1, key: value})
    with pytest.raises(InputError, match="there are 1 frames"):
        model_of()(torch.rand(1, 1, 1, 16, 16))


def test_baselines_predict_each_frame_from_the_two_before_it():
    frames = torch.tensor([0.5, 0.9, 0.6]).reshape(1, 3, 1, 1, 1)
    assert copy_last(frames).flatten().tolist() == pytest.approx([0.9, 0.6])
    assert extrapolate(frames).flatten().tolist() == pytest.approx([1.0, 0.3])


def test_active_pixels_weigh_more_where_a_wave_arrives_and_where_it_leaves():
    clips = torch.zeros(1, 4, 1, 1, 4)
    clips[0, 0] = 1.0  # is not in a predicted frame, nor in the one before it
    clips[0, 1, 0, 0, 1] = clips[0, 2, 0, 0, 2] = 0.5
    weights = activity_weights(clips, 0.5, 3.0)
    assert weights.mean() == pytest.approx(1.0)
    relative = (weights / weights.min())[0, :, 0, 0]
    assert relative.tolist() == [[1, 4, 4, 1], [1, 1, 4, 1]]


def test_the_loss_is_the_configured_one():
    clips = torch.rand(2, 4, 1, 16, 16)
    model = model_of("instance")
    error = model(clips[:, :-1]) - clips[:, 2:]
    weights = activity_weights(clips, 0.6, 2.0)
    for values, expected in (
        ({"loss": "mse"}, error.square().mean()),
        ({"loss": "l1"}, error.abs().mean()),
        ({"loss": "l1", "active_weight": 2.0}, (weights * error.abs()).mean()),
    ):
        module = NextFrameModule(model, recipe(**values), active_level=0.6)
        module.log = lambda *_, **__: None
        assert torch.allclose(module.training_step(clips, 0), expected)
    with pytest.raises(InputError, match=r"active_weight is 2.0, but these clips have no level"):
        NextFrameModule(model, recipe(active_weight=2.0), active_level=None)
    for level in (-0.1, 0.0, 1.41):
        with pytest.raises(InputError, match=rf"clips\.active_above is {level:.3g} of the range .* all pixels or none"):
            NextFrameModule(model, recipe(active_weight=2.0), active_level=level)


def test_recipes_are_checked_and_no_steps_are_an_untrained_model():
    assert recipe(steps=0, validate_every=30).steps == 0
    for values, message in (
        ({"steps": 0, "learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"steps": -1}, "steps is -1"),
        ({"validate_every": 3}, "does not divide steps 4"),
        ({"loss": "huber"}, "loss is 'huber'; choose one of mse, l1"),
        ({"decoder": "mirror"}, "decoder is 'mirror'"),
        ({"context": "none"}, "context is 'none'"),
        ({"active_weight": -1.0}, "active_weight is -1.0"),
        ({"iterations": 0}, "iterations is 0"),
    ):
        with pytest.raises(InputError, match=message):
            recipe(**values)


def test_training_logs_the_model_beside_its_baselines_over_all_predicted_frames():
    clips = Subset(torch.rand(2, 4, 1, 32, 32), range(2))
    torch.manual_seed(0)
    model = build_next_frame("small", "batch", 1, context="context_encoder")
    module = NextFrameModule(model, recipe(loss="l1", active_weight=2.0), active_level=0.5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = pl.Trainer(max_steps=4, accelerator="cpu", **quiet)
    trainer.fit(module, DataLoader(clips, 2), DataLoader(clips, 1))
    assert any(not torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    trainer.validate(module, DataLoader(clips, 1), verbose=False)
    logged = {name: float(trainer.callback_metrics[name]) for name in module.metrics}
    table = skill_table(model, clips, torch.device("cpu")).set_index("predictor").mse
    expected = {"mse": table["model"], "mse_copy": table["copy"], "mse_extrapolation": table["extrapolation"]}
    assert logged == pytest.approx(expected, rel=1e-4)
