"""Procedural scenes with everything on: non-rigid motion, occlusions, light, textures; and in batches."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.data import DataLoader

from rwtl.flow.sample import FlowSample
from rwtl.flow.scenes.dataset import VERSION, ProceduralFlow
from rwtl.flow.scenes.elements import change_light, displacement, outline_cover, random_light, undo_displacement
from rwtl.flow.scenes.texture import TEXTURES, evaluate_texture, noise_canvas

FULL = {"nonrigid": 1.0, "photometric": 1.0, "noise": 5.0, "textures": TEXTURES, "background_motion": 0.5}


def warp_errors(sample, flow):
    """Mean absolute difference of frame 1 to frame 2 fetched back along the flow, (h, w), on the scale 0..255."""
    height, width = flow.shape[-2:]
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    grid = (torch.stack([x, y]) + flow).permute(1, 2, 0) * 2 / torch.tensor([width - 1, height - 1]) - 1
    fetched = functional.grid_sample(sample.image2[None], grid[None], mode="bicubic", align_corners=True)[0]
    return (fetched - sample.image1).abs().mean(0)


def inside_its_layer(mask, margin=2):
    """Pixels that are farther than a margin from any pixel outside the mask, or from the border of the frame."""
    return -functional.max_pool2d(-functional.pad(mask[None].float(), (margin,) * 4), 2 * margin + 1, stride=1)[0] > 0


def point_motion(layer, x, y):
    """Where a point of frame 1 that shows the first scene's layer goes, in double precision and by the definition."""
    points = np.array([x, y], float)
    if layer.vectors is not None:
        for (a, b, phase), amplitude in zip(layer.vectors[0].numpy(), layer.amplitudes[0].numpy().T, strict=True):
            points = points + amplitude[:, None, None] * np.sin(a * x + b * y + phase)
    return points + np.einsum("ij,jhw->ihw", layer.flow[0, :, :2].numpy(), points) + layer.flow[0, :, 2:, None].numpy()


def shape_in_frame_1(layer, x, y):
    """Whether points of frame 1 lie inside the first scene's layer."""
    points = torch.from_numpy(np.stack([x, y]))[None, None].float()
    centre = -layer.to_surface[0, 0, :, 2]
    return outline_cover(layer.outline[:1], points - centre[:, None, None])[0, 0].numpy() >= 0.5


def evaluate_pattern(kind):
    """The pattern alone, -1..1, of backgrounds of a kind."""
    scenes = ProceduralFlow(20, 48, 64, shapes=0, textures=[kind]).scenes(range(20))
    layer = scenes.layers[0]
    black, grey = torch.zeros_like(layer.palette), torch.full_like(layer.base, 100.0)
    black[..., -1] = 50
    axes = torch.arange(64.0), torch.arange(48.0)[:, None]
    maps = layer.to_canvas, layer.to_waves
    colour = evaluate_texture(noise_canvas(scenes.canvas), grey, black, layer.pattern, layer.used, *maps, *axes)
    return (colour - 100) / 50


@pytest.mark.parametrize("shapes", [0, 6])
def test_nonrigid_flow_is_right_to_a_fraction_of_a_pixel(shapes):
    scenes = ProceduralFlow(4, 96, 112, mean_displacement=4.0, deformation=0.0, nonrigid=1.0, shapes=shapes)
    for index, sample in enumerate(scenes):
        clear = inside_its_layer(~scenes.occlusion(index))
        assert clear.float().mean() > 0.2
        smooth = (sample.flow.diff(dim=-1, prepend=sample.flow[..., :1]).abs().amax(0) < 1)[clear]
        right = warp_errors(sample, sample.flow)[clear][smooth]
        assert right.quantile(0.9) < 3
        for shift in ((0.2, 0.0), (-0.2, 0.0), (0.0, 0.2), (0.0, -0.2)):
            wrong = warp_errors(sample, sample.flow + torch.tensor(shift)[:, None, None])[clear][smooth]
            assert wrong.mean() > 1.3 * right.mean()


def test_nonrigid_motion_is_not_affine_and_0_is_none():
    rigid, bent = (ProceduralFlow(6, 96, 112, shapes=0, nonrigid=value).batch(range(6)) for value in (0.0, 1.0))
    assert rigid.flow.diff(n=2, dim=-1).abs().max() < 1e-4 < 1e-2 < bent.flow.diff(n=2, dim=-1).abs().max()
    assert torch.equal(rigid.image1, bent.image1)  # frame 1 does not move


@pytest.mark.parametrize("nonrigid", [0.3, 1.0, 30.0])
def test_nonrigid_motion_can_be_undone_and_folds_nothing(nonrigid):
    scenes = ProceduralFlow(6, 96, 112, mean_displacement=12.0, nonrigid=nonrigid).scenes(range(6))
    points = 110 * torch.rand(6, 1, 2, 40, 40, generator=torch.Generator().manual_seed(0))
    steepest = 0.0
    for layer in scenes.layers:
        found = undo_displacement(layer.vectors, layer.amplitudes, points, layer.iterations)
        again = found + displacement(layer.vectors, layer.amplitudes, found)
        assert (again - points).abs().max() < 1e-3
        numbers = layer.vectors[..., :2].norm(dim=-1)
        steepest = max(steepest, float((layer.amplitudes.norm(dim=1) * numbers).sum(-1).max()))
    assert steepest < 0.41
    assert nonrigid < 30 or steepest > 0.39  # so much is cut


def test_nonrigid_motion_grows_with_its_parameter():
    few, more = (
        ProceduralFlow(6, 96, 112, mean_displacement=1.0, nonrigid=value).scenes(range(6)).layers[0].amplitudes
        for value in (0.05, 0.1)
    )
    torch.testing.assert_close(2 * few, more)
    assert 0.01 < more.norm(dim=1).mean() < 0.1


@pytest.mark.parametrize("nonrigid", [0.0, 1.0])
def test_occlusion_is_what_the_order_of_the_layers_says(nonrigid):
    flow = ProceduralFlow(5, 48, 64, mean_displacement=6.0, nonrigid=nonrigid, shapes=6)
    # In place of inverting motions, move a fine grid of points of every nearer layer forward, and see what they cover.
    fine_y, fine_x = np.mgrid[-40:88:0.2, -40:104:0.2]
    differ, hidden, left = 0, 0, 0
    for index in range(len(flow)):
        scenes, sample = flow.scenes([index]), flow[index]
        y, x = np.mgrid[0:48, 0:64].astype(float)
        shown = np.zeros((48, 64), int)
        for depth, layer in enumerate(scenes.layers[1:], start=1):
            shown[shape_in_frame_1(layer, x, y)] = depth
        target = np.stack([x, y]) + sample.flow.numpy()
        for depth, layer in enumerate(scenes.layers):
            expected = point_motion(layer, x, y)[:, shown == depth]
            np.testing.assert_allclose(target[:, shown == depth], expected, atol=1e-3)
        outside = (target < -0.5).any(0) | (target[0] > 63.5) | (target[1] > 47.5)
        covered = np.zeros((48, 64), bool)
        for depth, layer in enumerate(scenes.layers[1:], start=1):
            inside = shape_in_frame_1(layer, fine_x, fine_y)
            moved = point_motion(layer, fine_x, fine_y)[:, inside]
            # Cells of 0.5 px that hold a moved point of the layer.
            cells = np.zeros((400, 400), bool)
            row, column = (np.floor(2 * moved[::-1]).astype(int) + 100).clip(0, 399)
            cells[row, column] = True
            row, column = (np.floor(2 * target[::-1]).astype(int) + 100).clip(0, 399)
            covered |= cells[row, column] & (shown < depth)
        occluded = flow.occlusion(index).numpy()
        assert (occluded >= outside).all()
        differ += (occluded != (covered | outside)).sum()
        hidden, left = hidden + (covered & ~outside).sum(), left + outside.sum()
    assert hidden > 300 and left > 300
    # Half a pixel of play at the edges of the shapes that hide.
    assert differ < 0.1 * hidden


def test_what_is_not_occluded_looks_the_same_and_what_is_hidden_does_not():
    scenes = ProceduralFlow(10, 64, 80, mean_displacement=6.0)
    seen, hidden = [], []
    for index, sample in enumerate(scenes):
        occluded, errors = scenes.occlusion(index), warp_errors(sample, sample.flow)
        assert 0 < occluded.float().mean() < 0.9
        seen.append(errors[inside_its_layer(~occluded)])
        hidden.append(errors[inside_its_layer(occluded, 1)])
    assert torch.cat(seen).median() < 2
    assert torch.cat(hidden).median() > 20


def test_light_and_noise_change_the_frames_and_not_the_flow():
    # Plain colours are far from black and white, so that no noise is cut off.
    plain, lit, noisy = (
        ProceduralFlow(8, 64, 80, contrast=0.0, **changes) for changes in ({}, {"photometric": 1.0}, {"noise": 10.0})
    )
    ratios = []
    for index in range(8):
        for changed in (lit, noisy):
            assert torch.equal(changed[index].flow, plain[index].flow)
            assert torch.equal(changed.occlusion(index), plain.occlusion(index))
            for image in changed[index][:2]:
                assert image.min() >= 0 and image.max() <= 255
        ratios.append([(lit[index][k] - plain[index][k]).mean() for k in (0, 1)])
        added = torch.stack([noisy[index][k] - plain[index][k] for k in (0, 1)])
        assert added.std() == pytest.approx(10, rel=0.02)
        assert added.mean().abs() < 0.2
        # White: neighbours, colours and frames have nothing in common.
        for pair in ((added[..., 1:], added[..., :-1]), (added[:, :2], added[:, 1:]), (added[:1], added[1:])):
            assert abs(np.corrcoef(*(part.flatten() for part in pair))[0, 1]) < 0.03
    changes = np.array(ratios)
    assert np.abs(changes).mean() > 5
    assert np.abs(changes[:, 0] - changes[:, 1]).mean() > 5  # the frames differ from each other


def test_light_is_gamma_contrast_and_brightness_and_strength_0_is_none():
    for values, neutral in zip(random_light(np.arange(24.0).reshape(12, 2), 0.0), (1.0, 1.0, 0.0), strict=True):
        assert (values == neutral).all()
    exponent, slope, _ = random_light(np.random.default_rng(0).standard_normal((12, 200)), 1.0)
    assert np.log(exponent).std() == pytest.approx(0.15, rel=0.15)
    assert np.log(slope).std() == pytest.approx(np.hypot(0.15, 0.06), rel=0.15)
    # Colours differ in slope alone.
    assert (exponent[:, 0] == exponent[:, 2]).all() and not (slope[:, 0] == slope[:, 2]).any()
    frames = torch.full((1, 3, 1, 1, 1), 0.25 * 255)
    changed = change_light(frames, *(torch.full((1, 3, 1), value) for value in (0.5, 0.8, 0.1)))
    assert changed.flatten().tolist() == pytest.approx([(0.25**0.5 * 0.8 + 0.1) * 255] * 3)


def test_every_texture_has_its_look_and_contrast_scales_it():
    kinds = {kind: ProceduralFlow(4, 48, 64, textures=[kind]) for kind in TEXTURES}
    first = {kind: torch.stack([sample.image1 for sample in scenes]) for kind, scenes in kinds.items()}
    for number, kind in enumerate(TEXTURES):
        for other in TEXTURES[:number]:
            assert (first[kind] - first[other]).abs().mean() > 5, (kind, other)
    # Dots cover less than half of a surface, checks half, tiles a little more.
    brighter = {kind: float((evaluate_pattern(kind) > 0).float().mean()) for kind in ("dots", "checks", "tiles")}
    assert brighter["dots"] < 0.4 < 0.45 < brighter["checks"] < 0.53 < brighter["tiles"]
    spread = [
        ProceduralFlow(6, 48, 64, shapes=0, contrast=value).batch(range(6)).image1.std(dim=(-2, -1)).mean()
        for value in (0.0, 0.3, 0.6)
    ]
    assert spread[0] < 0.01
    assert spread[2] == pytest.approx(2 * float(spread[1]), rel=0.2)


@pytest.mark.parametrize("arguments", [{}, FULL])
def test_a_batch_is_its_single_scenes(arguments):
    scenes = ProceduralFlow(9, 40, 56, **arguments)
    many = scenes.batch([7, 2, 5, 0])
    singles = [scenes[index] for index in (7, 2, 5, 0)]
    for together, apart in zip(many, (torch.stack(field) for field in zip(*singles, strict=True)), strict=True):
        assert together.shape == apart.shape and together.dtype == torch.float32 and together.is_contiguous()
        torch.testing.assert_close(together, apart, rtol=0, atol=0.05)
    torch.testing.assert_close(scenes.flows([7, 2]), many.flow[:2], rtol=0, atol=1e-3)
    for image in singles[0][:2]:
        assert image.std() > 10


def test_loaders_collate_scenes_with_everything_on():
    scenes = ProceduralFlow(4, 32, 48, **FULL)
    batch = next(iter(DataLoader(scenes, batch_size=4, num_workers=1, multiprocessing_context="spawn")))
    assert isinstance(batch, FlowSample)
    assert batch.image1.shape == (4, 3, 32, 48) and batch.valid.shape == (4, 32, 48)


def test_a_new_parameter_leaves_the_rest_of_the_scene_alone():
    plain = ProceduralFlow(3, 48, 64)
    for changes in ({"nonrigid": 1.0}, {"tail": 3.0}, {"mean_displacement": 8.0}, {"background_motion": 0.0}):
        assert torch.equal(ProceduralFlow(3, 48, 64, **changes)[1].image1, plain[1].image1), changes
    lit = ProceduralFlow(3, 48, 64, photometric=1.0, noise=5.0)
    moved = ProceduralFlow(3, 48, 64, photometric=1.0, noise=5.0, nonrigid=1.0)
    assert torch.equal(lit[1].image1, moved[1].image1)
    assert torch.equal(ProceduralFlow(3, 48, 64, nonrigid=1.0)[1].flow, moved[1].flow)


def test_background_motion_moves_displacements_from_the_background_to_the_shapes():
    still = ProceduralFlow(60, 48, 64, background_motion=0.0).flows(range(60)).norm(dim=1)
    usual = ProceduralFlow(60, 48, 64).flows(range(60)).norm(dim=1)
    assert (still == 0).float().mean() > 0.6 > 0.01 > (usual == 0).float().mean()
    assert still.max() > 1.5 * usual.max()
    assert still.mean() == pytest.approx(4.0, rel=0.3) and usual.mean() == pytest.approx(4.0, rel=0.3)
    lone = ProceduralFlow(20, 48, 64, background_motion=0.0, shapes=0).flows(range(20))
    assert (lone == 0).all()


def test_tail_makes_long_displacements_rare_and_longer():
    lengths = {tail: ProceduralFlow(100, 48, 64, tail=tail).flows(range(100)).norm(dim=1) for tail in (1.0, 2.0, 4.0)}
    ratios = [float(length.quantile(0.5) / length.mean()) for length in (lengths[t][::4].flatten() for t in lengths)]
    assert ratios[0] > ratios[1] > ratios[2]
    longest = [float(length.max() / length.mean()) for length in lengths.values()]
    assert longest[0] < longest[1] < longest[2]


def test_names_and_identity_say_what_determines_the_scenes():
    scenes = ProceduralFlow(3, 32, 48, split="test", textures=("noise", "dots"), noise=2.0)
    assert scenes.names == ["scene 0", "scene 1", "scene 2"]
    identity = scenes.identity()
    assert json.loads(json.dumps(identity)) == identity
    assert identity.pop("version") == VERSION and identity == vars(scenes)
    assert identity["split"] == "test" and identity["size"] == 3 and identity["textures"] == ["noise", "dots"]
    again = ProceduralFlow(**identity)
    assert all(torch.equal(*pair) for pair in zip(again[2], scenes[2], strict=True))
