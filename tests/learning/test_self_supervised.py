"""Flow without truth: what the losses prefer, what the occlusion check marks, and that RAFT learns from them."""

import dataclasses
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch.utils.data import DataLoader

from rwtl.errors import InputError
from rwtl.learning.metrics import end_point_error
from rwtl.learning.tasks.self_supervised import (
    SelfSupervisedModule,
    SelfSupervisedRecipe,
    both_directions,
    census,
    census_difference,
    leaves_frame,
    mean_where,
    occluded,
    photometric_difference,
    self_supervised_loss,
    smoothness,
    there_and_back,
)
from rwtl.models.next_frame import warp
from rwtl.models.raft import build_raft
from rwtl.sections import typed

CONFIG = Path(__file__).parents[2] / "conf" / "pretraining" / "self_supervised.yaml"


def recipe(**changes):
    values = OmegaConf.to_container(OmegaConf.load(CONFIG))
    assert values.pop("kind") == "self_supervised"
    return typed(SelfSupervisedRecipe, values | changes, "pretraining")


def texture(height=48, width=64, seed=0):
    """Blobs of about 10 px, in 0..1, that go on across the borders."""
    frame = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(seed))
    for _ in range(2):
        frame = F.avg_pool2d(F.pad(frame, (4, 4, 4, 4), mode="circular"), 9, stride=1)
    return (frame - frame.min()) / (frame.max() - frame.min())


def constant_flow(x, y, height=48, width=64):
    return torch.tensor([x, y]).view(1, 2, 1, 1).expand(1, 2, height, width).contiguous()


def shifted_pair():
    """A texture that moves by 3 px to the right and 1 px up, and that flow; what enters at a border is unrelated."""
    frame1 = texture()
    return frame1, torch.roll(frame1, (-1, 3), dims=(-2, -1)), constant_flow(3.0, -1.0)


def test_census_ignores_a_change_of_brightness_and_sees_texture():
    frame = texture()
    assert torch.allclose(census(frame, 2), census(frame + 0.3, 2), atol=1e-4)
    assert census(frame, 2).shape == (1, 25, 48, 64)
    brighter = frame + 0.3
    assert photometric_difference(frame, brighter).min() > 0.29
    assert census_difference(census(frame, 2), census(brighter, 2)).max() < 1e-4
    assert census_difference(census(frame, 2), census(1 - frame, 2)).mean() > 0.5


def test_census_takes_the_noise_of_cells_at_rest_for_flat():
    """Two frames at rest, whose noise (0.001) is unrelated, must not disagree as two unrelated textures do."""
    rest = [0.1 + 0.001 * torch.randn(1, 1, 48, 64, generator=torch.Generator().manual_seed(k)) for k in (1, 2)]
    of_rest = census_difference(*(census(frame, 2) for frame in rest)).mean()
    of_texture = census_difference(*(census(texture(seed=k), 2) for k in (1, 2))).mean()
    assert of_rest < 0.15 * of_texture


def test_census_tells_a_front_from_the_flat():
    """Of a step between two plateaus, neighbours across it say 1 or -1, and those on the same plateau 0."""
    step = torch.zeros(1, 1, 5, 6)
    step[..., 3:] = 0.5
    signs = census(step, 1)[0, :, 2]  # (neighbour, column)
    assert signs[5].tolist() == pytest.approx([0, 0, 1, 0, 0, 0], abs=1e-2)  # the neighbour to the right
    assert signs[3].tolist() == pytest.approx([0, 0, 0, -1, 0, 0], abs=1e-2)  # to the left
    assert signs[4].tolist() == [0] * 6  # itself


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_the_true_flow_costs_less_than_none_and_than_a_wrong_one(weights):
    frame1, frame2, flow = shifted_pair()
    terms = recipe(photometric_weight=weights[0], census_weight=weights[1])
    everywhere = torch.ones(1, 48, 64, dtype=torch.bool)
    truth, none, wrong = (
        float(self_supervised_loss(frame1, frame2, [candidate], everywhere, terms))
        for candidate in (flow, torch.zeros_like(flow), -flow)
    )
    assert truth < 0.3 * min(none, wrong)


def test_later_iterations_count_more_and_hidden_pixels_do_not():
    frame1, frame2, flow = shifted_pair()
    terms, everywhere = recipe(gamma=0.5), torch.ones(1, 48, 64, dtype=torch.bool)

    def loss(flows, visible=everywhere):
        return float(self_supervised_loss(frame1, frame2, flows, visible, terms))

    zero = torch.zeros_like(flow)
    assert loss([zero, flow]) == pytest.approx(0.5 * loss([zero]) + loss([flow]), rel=1e-5)
    inside = everywhere.clone()
    inside[..., 58:] = False  # where the texture leaves, and the two columns that compare with those
    inside[:, :4] = False
    assert loss([flow], inside) < 1e-3 < loss([flow])
    assert mean_where(torch.tensor([1.0, 3.0, 7.0]), torch.tensor([True, True, False])) == 2
    assert mean_where(torch.full((2,), torch.inf), torch.tensor([False, False])) == 0


def test_smoothness_of_second_order_lets_affine_flow_be():
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(20.0), indexing="ij")
    affine = torch.stack((0.2 * x - 0.1 * y, 0.3 * y + 1))[None]
    bent = torch.stack((0.02 * x**2, 0.02 * y**2))[None]
    flat = torch.full((1, 1, 16, 20), 0.5)
    assert smoothness(affine, flat, 2, 10.0) < 1e-5 < smoothness(affine, flat, 1, 10.0)
    assert smoothness(bent, flat, 2, 10.0) > 0.01
    assert smoothness(torch.full((1, 2, 16, 20), 7.0), flat, 1, 10.0) == 0
    # By hand: |∂x u| = 0.2, |∂y u| = 0.1, |∂y v| = 0.3, halved over the two axes.
    assert float(smoothness(affine, flat, 1, 0.0)) == pytest.approx((0.2 + 0.4) / 2, abs=2e-3)


@pytest.mark.parametrize("order", [1, 2])
def test_a_step_of_the_flow_costs_less_at_an_edge_of_the_frame(order):
    flow = torch.zeros(1, 2, 12, 16)
    flow[:, 0, :, 8:] = 2.0
    at, elsewhere = torch.zeros(2, 1, 1, 12, 16)
    at[..., 8:] = 0.5
    elsewhere[..., 4:] = 0.5
    excused, full = (float(smoothness(flow, frame, order, 10.0)) for frame in (at, elsewhere))
    assert excused == pytest.approx(full * torch.exp(torch.tensor(-5.0)).item(), rel=0.02)
    assert float(smoothness(flow, at, order, 0.0)) == pytest.approx(full, rel=1e-5)


def test_forward_backward_check_marks_what_a_moving_square_hides():
    """A square of 10 px moves 4 px to the right over a background that stands still."""
    forward, backward = torch.zeros(2, 1, 2, 24, 32)
    forward[:, 0, 7:17, 5:15] = 4.0
    backward[:, 0, 7:17, 9:19] = -4.0
    hidden, uncovered = torch.zeros(2, 1, 24, 32, dtype=torch.bool)
    hidden[:, 7:17, 15:19] = True
    uncovered[:, 7:17, 5:9] = True
    assert torch.equal(occluded(forward, backward), hidden)
    assert torch.equal(occluded(backward, forward), uncovered)


def test_forward_backward_check_allows_a_small_miss_that_grows_with_the_flow():
    for length, miss, expected in ((0.0, 0.7, False), (0.0, 0.72, True), (20.0, 2.7, False), (20.0, 3.5, True)):
        forward, backward = constant_flow(-length, 0.0), constant_flow(length + miss, 0.0)
        assert bool(occluded(forward, backward)[0, 24, 50]) == expected, (length, miss)


def test_what_leaves_the_frame_is_occluded():
    forward, backward = constant_flow(3.0, -1.0), constant_flow(-3.0, 1.0)
    expected = torch.zeros(1, 48, 64, dtype=torch.bool)
    expected[..., 61:] = True
    expected[:, 0] = True
    assert torch.equal(leaves_frame(forward), expected)
    assert torch.equal(occluded(forward, backward), expected)


def test_pairs_run_both_ways_and_each_flow_meets_the_one_back():
    clips = torch.arange(4.0).view(2, 2, 1, 1, 1).expand(2, 2, 1, 8, 8)
    frame1, frame2 = both_directions(clips)
    assert frame1[:, 0, 0, 0].tolist() == [0, 2, 1, 3] and frame2[:, 0, 0, 0].tolist() == [1, 3, 0, 2]
    there, back = there_and_back(torch.arange(4.0).view(4, 1, 1, 1).expand(4, 2, 8, 8))
    assert there[:, 0, 0, 0].tolist() == [0, 1, 2, 3] and back[:, 0, 0, 0].tolist() == [2, 3, 0, 1]


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0)])
def test_gradients_of_each_difference_reach_both_encoders(weights):
    torch.manual_seed(0)
    model = build_raft("small", "batch", iterations=2)
    frame1, frame2, _ = shifted_pair()
    flows = model(*((255 * frame).expand(-1, 3, -1, -1) for frame in (frame1, frame2)))
    terms = recipe(photometric_weight=weights[0], census_weight=weights[1], smoothness_weight=0.0)
    self_supervised_loss(frame1, frame2, flows, torch.ones(1, 48, 64, dtype=torch.bool), terms).backward()
    for encoder in (model.feature_encoder, model.context_encoder):
        gradient = encoder.conv1.weight.grad
        assert gradient.isfinite().all() and gradient.abs().sum() > 0


@pytest.mark.parametrize("occlusion_from", [0, 1])
def test_occluded_pixels_count_until_the_step_that_leaves_them_out(occlusion_from, tmp_path):
    """All is occluded where both flows have the same sign; then the first step's loss is smoothness alone."""
    torch.manual_seed(0)
    model = build_raft("small", "none", iterations=1)
    head = model.update_block.flow_head.conv2
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.constant_(head.bias, 0.5)  # 4 px at full resolution
    plan = recipe(steps=1, validate_every=1, iterations=1, occlusion_from=occlusion_from)
    run = trainer(1, tmp_path)
    frame1, frame2, _ = shifted_pair()
    run.fit(SelfSupervisedModule(model, plan, "grey"), DataLoader([torch.cat((frame1, frame2))], 1))
    loss = float(run.callback_metrics["loss"])
    assert loss == pytest.approx(0, abs=1e-4) if occlusion_from == 0 else loss > 0.1


def trainer(steps, folder):
    return pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        inference_mode=False,
        gradient_clip_val=1.0,
    )


def validated(model, clip, colour, folder):
    module = SelfSupervisedModule(model, recipe(), colour)
    validator = trainer(1, folder)
    validator.validate(module, DataLoader([clip], 1), verbose=False)
    return {name: float(validator.callback_metrics[name]) for name in module.metrics}


def test_validation_of_no_motion_and_of_a_flow_that_never_leads_back(tmp_path):
    """All of a constant flow is occluded, since the way back has the same sign; that must not look like success."""
    torch.manual_seed(0)
    model = build_raft("small", "batch", iterations=2)
    head = model.update_block.flow_head.conv2
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    frame1, frame2, _ = shifted_pair()
    clip = torch.cat((frame1, frame2))
    still = validated(model, clip, "grey", tmp_path)
    expected = float((frame1 - frame2).abs().mean())
    for name in still.keys() - {"occluded"}:
        assert still[name] == pytest.approx(expected, rel=1e-5)
    assert still["occluded"] == 0

    torch.nn.init.constant_(head.bias, 0.1)  # of each of the validation's iterations, and eightfold at full resolution
    lost = validated(model, clip, "blue_red", tmp_path)
    assert lost["occluded"] == 1
    assert torch.tensor([lost["photometric"], lost["photometric_no_motion"]]).isnan().all()
    shift = 0.8 * recipe().validation_iterations
    error = (frame1 - warp(frame2, constant_flow(shift, shift))).abs().mean()
    error_back = (frame2 - warp(frame1, constant_flow(shift, shift))).abs().mean()
    assert lost["photometric_all"] == pytest.approx(float((error + error_back) / 2), rel=1e-3)
    assert lost["photometric_all_no_motion"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_raft_learns_the_motion_of_a_pair_from_its_frames(tmp_path):
    pl.seed_everything(1, verbose=False)
    model = build_raft("small", "instance", iterations=2)
    frame1, frame2, flow = shifted_pair()
    images = [(255 * frame).expand(-1, 3, -1, -1) for frame in (frame1, frame2)]

    def error():
        model.eval()
        return float(end_point_error(model.estimate(*images).flow, flow).mean())

    plan = recipe(steps=90, validate_every=90, iterations=2, occlusion_from=45)
    module = SelfSupervisedModule(model, plan, "grey")
    before, no_motion = error(), float(end_point_error(torch.zeros_like(flow), flow).mean())
    trainer(plan.steps, tmp_path).fit(module, DataLoader([torch.cat((frame1, frame2))] * plan.steps, 1))
    assert error() < 0.7 * min(before, no_motion)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"photometric_weight": 0.0, "census_weight": 0.0}, "photometric_weight and census_weight are both 0"),
        ({"census_weight": -1.0}, "census_weight is -1.0; it must not be negative"),
        ({"smoothness_order": 3}, "smoothness_order is 3; choose one of 1, 2"),
        ({"census_radius": 0}, "census_radius is 0; it must be at least 1"),
        ({"gamma": 1.5}, "gamma is 1.5; it must be above 0 and at most 1"),
        ({"occlusion_from": -1}, "occlusion_from is -1; it must not be negative"),
        ({"iterations": 0}, "iterations is 0; it must be at least 1"),
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
    ],
)
def test_bad_recipes_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(recipe(), **changes)
