import re

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.data import DataLoader

from rwtl.errors import InputError
from rwtl.flow.sample import FlowSample
from rwtl.flow.scenes.dataset import ProceduralFlow


def _targets(flow: torch.Tensor) -> torch.Tensor:
    """Where each pixel of frame 1 lies in frame 2: x and y, (2, h, w)."""
    height, width = flow.shape[-2:]
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    return torch.stack([x, y]) + flow


def _warp_errors(sample: FlowSample, flow: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of frame 1 to frame 2 fetched back along the flow, (h, w), on the scale 0..255."""
    height, width = flow.shape[-2:]
    grid = _targets(flow).permute(1, 2, 0) * 2 / torch.tensor([width - 1, height - 1]) - 1
    fetched = functional.grid_sample(sample.image2[None], grid[None], mode="bicubic", align_corners=True)[0]
    return (fetched - sample.image1).abs().mean(0)


def _visible(flow: torch.Tensor) -> torch.Tensor:
    """Pixels that stay in the frame, are not hidden in frame 2, and are not at an edge of their layer in frame 1."""
    height, width = flow.shape[-2:]
    x, y = _targets(flow)
    inside = (x >= 2) & (x <= width - 3) & (y >= 2) & (y <= height - 3)
    neighbours = functional.unfold(functional.pad(flow[None], (2, 2, 2, 2), mode="replicate"), 5)
    neighbours = neighbours.reshape(2, 25, height, width)
    smooth = ((neighbours - flow[:, None]).abs() < 0.9).all(1).all(0)
    # Where pixels of unlike displacement arrive close together in frame 2, one may hide the other.
    cells = (y.round().long().clamp(0, height - 1) * width + x.round().long().clamp(0, width - 1)).reshape(-1)
    extremes = []
    for sign in (1, -1):
        largest = torch.full((2, height * width), -1e6)
        largest.scatter_reduce_(1, cells.expand(2, -1), sign * flow.reshape(2, -1), "amax")
        extremes.append(functional.max_pool2d(largest.reshape(2, height, width), 5, stride=1, padding=2))
    spread = (extremes[0] + extremes[1]).reshape(2, -1)[:, cells].reshape(2, height, width)
    return inside & smooth & (spread < 1.5).all(0)


def test_flow_of_a_background_alone_explains_every_pixel():
    scenes = ProceduralFlow(6, 64, 80, shapes=0, mean_displacement=3.0)
    for sample in scenes:
        x, y = _targets(sample.flow)
        inside = (x >= 2) & (x <= 77) & (y >= 2) & (y <= 61)
        errors = _warp_errors(sample, sample.flow)[inside]
        still = _warp_errors(sample, torch.zeros_like(sample.flow))[inside]
        # What is left is the interpolation of frame 2, on the scale 0..255.
        assert errors.mean() < 2
        assert errors.max() < 10
        assert still.mean() > 2 * errors.mean()


def test_flow_of_layers_explains_every_visible_pixel():
    share, errors, still = [], [], []
    for sample in ProceduralFlow(8, 64, 80, mean_displacement=3.0):
        visible = _visible(sample.flow)
        share.append(visible.float().mean())
        errors.append(_warp_errors(sample, sample.flow)[visible])
        still.append(_warp_errors(sample, torch.zeros_like(sample.flow))[visible])
    errors, still = torch.cat(errors), torch.cat(still)
    assert np.mean(share) > 0.4  # else this would test next to nothing
    assert errors.mean() < 1.5
    assert errors.quantile(0.99) < 10
    assert still.mean() > 10 * errors.mean()


@pytest.mark.parametrize("shift", [(0.2, 0.0), (-0.2, 0.0), (0.0, 0.2), (0.0, -0.2)])
def test_flow_is_right_to_a_fraction_of_a_pixel(shift):
    for sample in ProceduralFlow(4, 64, 80, mean_displacement=3.0):
        visible = _visible(sample.flow)
        right = _warp_errors(sample, sample.flow)[visible].mean()
        wrong = _warp_errors(sample, sample.flow + torch.tensor(shift)[:, None, None])[visible].mean()
        assert wrong > 1.5 * right


def test_translation_is_constant_on_each_layer():
    for sample in ProceduralFlow(5, 48, 64, deformation=0.0, shapes=6):
        displacements = torch.unique(sample.flow.reshape(2, -1), dim=1)
        assert 2 <= displacements.shape[1] <= 7
    single = ProceduralFlow(1, 48, 64, deformation=0.0, shapes=0)[0].flow
    assert torch.unique(single.reshape(2, -1), dim=1).shape[1] == 1


def test_background_flow_is_affine():
    flow = ProceduralFlow(1, 48, 64, shapes=0, mean_displacement=8.0)[0].flow
    assert torch.unique(flow).numel() > 2
    for axis in (-1, -2):
        assert flow.diff(n=2, dim=axis).abs().max() < 1e-4


def test_nearest_shape_decides_the_flow():
    # Where the frames show different layers, each pixel has the flow of exactly one: no mixtures at edges.
    sample = ProceduralFlow(1, 96, 128, deformation=0.0, shapes=8)[0]
    _, counts = torch.unique(sample.flow.reshape(2, -1), dim=1, return_counts=True)
    assert counts.min() > 5


@pytest.mark.parametrize("nonrigid", [0.0, 1.0])
def test_shapes_are_painted_whole(monkeypatch, nonrigid):
    # Each shape is painted inside its bounds only; painting over the full frame must give the same frames.
    scenes = ProceduralFlow(5, 64, 80, mean_displacement=8.0, nonrigid=nonrigid)
    bounded = list(scenes)
    whole = "rwtl.flow.scenes.scene._boxes"
    monkeypatch.setattr(whole, lambda centre, *_: [[0, 80, 0, 64] for _ in range(centre.shape[1])])
    for scene, other in zip(bounded, scenes, strict=True):
        torch.testing.assert_close(scene.image1, other.image1, rtol=0, atol=0.01)
        torch.testing.assert_close(scene.image2, other.image2, rtol=0, atol=0.01)
        assert torch.equal(scene.flow, other.flow)


def test_same_seed_and_index_give_the_same_bits_and_others_differ():
    scene = ProceduralFlow(9, 32, 48)[4]
    assert all(torch.equal(*pair) for pair in zip(scene, ProceduralFlow(5, 32, 48)[4], strict=True))
    others = [
        ProceduralFlow(9, 32, 48)[5],
        ProceduralFlow(9, 32, 48, seed=1)[4],
        ProceduralFlow(9, 32, 48, split="validation")[4],
        ProceduralFlow(9, 32, 48, split="test")[4],
    ]
    images = [scene.image1, *(other.image1 for other in others)]
    flows = [scene.flow, *(other.flow for other in others)]
    for i in range(len(images)):
        for j in range(i):
            assert (images[i] - images[j]).abs().mean() > 10
            assert not torch.equal(flows[i], flows[j])


def test_workers_and_order_do_not_matter():
    scenes = ProceduralFlow(6, 32, 48)
    backwards = {index: scenes[index] for index in reversed(range(6))}
    loader = DataLoader(scenes, batch_size=1, num_workers=2, multiprocessing_context="spawn")
    for index, batch in enumerate(loader):
        assert isinstance(batch, FlowSample)
        assert all(torch.equal(many[0], one) for many, one in zip(batch, backwards[index], strict=True))


def test_threads_do_not_matter():
    scenes = ProceduralFlow(1, 184, 248)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = scenes[0]
        torch.set_num_threads(4)
        four = scenes[0]
    finally:
        torch.set_num_threads(threads)
    for pair in zip(one, four, strict=True):
        torch.testing.assert_close(*pair, rtol=0, atol=0.01)


@pytest.mark.parametrize(("height", "width", "mean"), [(48, 64, 2.0), (32, 96, 6.0)])
def test_mean_displacement_is_what_it_says(height, width, mean):
    lengths = np.stack([np.hypot(*s.flow.numpy()) for s in ProceduralFlow(50, height, width, mean_displacement=mean)])
    assert lengths.mean() == pytest.approx(mean, rel=0.25)
    assert np.percentile(lengths, 99) > 3 * mean  # a few are long …
    assert np.median(lengths) < 0.9 * mean  # … and most are short
    assert lengths.max() < 12 * mean


def test_frames_are_textured_images():
    for sample in ProceduralFlow(10, 96, 128):
        for image in (sample.image1, sample.image2):
            assert image.shape == (3, 96, 128) and image.dtype == torch.float32
            assert image.min() >= 0 and image.max() <= 255
            assert image.std() > 20
            # Neighbouring pixels differ, yet not like white noise.
            assert 1 < image.diff(dim=-1).abs().mean() < 0.8 * image.std()
        assert sample.valid.min() == 1


def test_senseless_arguments_are_refused():
    good = {"size": 2, "height": 32, "width": 32}
    for name, value in [
        ("size", 0),
        ("height", 15),
        ("width", 0),
        ("seed", -1),
        ("shapes", -1),
        ("deformation", -0.5),
        ("mean_displacement", 0.0),
        ("mean_displacement", 9.0),
        ("mean_displacement", float("nan")),
        ("background_motion", -1.0),
        ("nonrigid", float("inf")),
        ("contrast", float("nan")),
        ("photometric", -0.1),
        ("noise", -2.0),
        ("textures", []),
    ]:
        with pytest.raises(InputError, match=rf"^procedural\.{name} is {re.escape(str(value))}"):
            ProceduralFlow(**{**good, name: value})
    with pytest.raises(InputError, match=r"^procedural\.textures\[1\] is 'wood'; choose one of noise, "):
        ProceduralFlow(**good, textures=["noise", "wood"])
    with pytest.raises(IndexError, match="scene 2 of 2"):
        ProceduralFlow(**good)[2]


def test_long_displacements_have_no_direction_that_they_prefer():
    scenes = ProceduralFlow(600, 32, 32, mean_displacement=4.0, shapes=0, deformation=0.0, tail=4.0)
    u, v = scenes.flows(range(600))[:, :, 16, 16].T
    angle = torch.atan2(v, u)
    # Four-fold order: 1 if all were along the axes, -1 along the diagonals; 0.9 with powers of x and y alone.
    assert abs(float(torch.cos(4 * angle).mean())) < 0.12
