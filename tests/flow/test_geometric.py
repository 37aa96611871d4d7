"""Frames and flow stay consistent: whatever is done to a sample, frame 2 at x + flow(x) shows frame 1 at x."""

import numpy as np
import pytest
import torch
from torch.nn.functional import grid_sample, interpolate

from rwtl.errors import InputError
from rwtl.flow.augmentation import Augmentation, AugmentationConfig, SparseAugmentation, SparseAugmentationConfig
from rwtl.flow.geometric import Window, crop_start, crop_window, cut, mirror, resize_dense, resize_sparse, scaled_size
from rwtl.flow.sample import FlowSample

HEIGHT, WIDTH = 90, 120
LINEAR = torch.tensor([[0.04, -0.03], [0.05, -0.02]])  # flow = LINEAR @ (x, y) + SHIFT
SHIFT = torch.tensor([2.3, -1.7])
COLOURLESS = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "eraser_probability": 0.0}


def places(height: int, width: int) -> torch.Tensor:
    """x and y of every pixel, (2, height, width)."""
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    return torch.stack([x, y])


def pattern(place: torch.Tensor) -> torch.Tensor:
    """Channels: x and y themselves (which resampling keeps to the last digits), and waves."""
    x, y = place
    return torch.stack([x, y, 100 + 50 * torch.sin(x / 9) * torch.cos(y / 11)])


def affine_sample(share_known: float = 1.0) -> FlowSample:
    place = places(HEIGHT, WIDTH)
    shift = SHIFT[:, None, None]
    # Frame 2 shows at q what frame 1 shows at the p with p + flow(p) = q.
    origin = torch.einsum("ij,jhw->ihw", torch.linalg.inv(torch.eye(2) + LINEAR), place - shift)
    known = torch.rand(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)) < share_known
    flow = torch.einsum("ij,jhw->ihw", LINEAR, place) + shift
    return FlowSample(pattern(place), pattern(origin), flow, known.float())


def at(image: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Sample an image bilinearly at places (2, h, w) in px."""
    size = torch.tensor([image.shape[2], image.shape[1]])[:, None, None]
    grid = ((2 * place + 1) / size - 1).permute(1, 2, 0)[None]
    return grid_sample(image[None], grid, align_corners=False)[0]


def inside(place: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Where a place is 3 px or more from the edge: at the edge itself resampling repeats the last pixel."""
    x, y = place
    return (x >= 3) & (x <= width - 4) & (y >= 3) & (y <= height - 4)


def assert_consistent(sample: FlowSample, rounding: float, wave_tolerance: float) -> None:
    """Frame 2 at the flow's end shows frame 1; the flow is the analytic one of the place that frame 1 shows.

    Args:
        rounding: px in the source by which a pixel may show another place than the flow was taken from, per axis.
    """
    height, width = sample.valid.shape
    end = places(height, width) + sample.flow
    good = (sample.valid > 0) & inside(end, height, width) & inside(places(height, width), height, width)
    # and where the source itself was no edge
    good &= inside(sample.image1[:2], HEIGHT, WIDTH) & inside(at(sample.image2, end)[:2], HEIGHT, WIDTH)
    assert good.sum() > 100
    error = (at(sample.image2, end) - sample.image1).abs()[:, good]
    worst_flow = rounding * LINEAR.abs().sum(1).max()
    assert error[:2].max() < 2e-3 + 2 * worst_flow
    assert error[2].max() < wave_tolerance
    # The two ramps of frame 1 say how the axes were scaled and mirrored.
    axes = torch.stack([sample.image1[0].diff(dim=1).median(), sample.image1[1].diff(dim=0).median()])
    analytic = torch.einsum("ij,jhw->ihw", LINEAR, sample.image1[:2]) + SHIFT[:, None, None]
    difference = (sample.flow * axes[:, None, None] - analytic).abs()[:, good]
    assert difference.max() < 2e-3 + worst_flow


def only(**changes: float) -> dict[str, float]:
    off = {"min_scale": 0.0, "max_scale": 0.0, "scale_probability": 0.0, "horizontal_flip": 0.0}
    return {"height": 60, "width": 80} | off | COLOURLESS | changes


GROW = {"scale_probability": 1.0, "min_scale": 0.3, "max_scale": 0.8}
SHRINK = {"scale_probability": 1.0, "min_scale": -0.5, "max_scale": -0.2}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        GROW,
        SHRINK,
        GROW | {"max_stretch": 0.5, "stretch_probability": 1.0},
        {"horizontal_flip": 1.0},
        {"vertical_flip": 1.0},
        {"horizontal_flip": 1.0, "vertical_flip": 1.0},
        SHRINK | {"horizontal_flip": 1.0, "vertical_flip": 1.0, "max_stretch": 0.3, "stretch_probability": 1.0},
    ],
    ids=lambda changes: "+".join(changes) or "crop",
)
def test_dense_flow_stays_that_of_the_frames(changes):
    dense = {"max_stretch": 0.0, "stretch_probability": 0.0, "vertical_flip": 0.0, "asymmetric_colour_probability": 0.0}
    augment = Augmentation(AugmentationConfig(**(only() | dense | changes)))
    sample = affine_sample()
    for seed in range(12):
        changed = augment(sample, np.random.default_rng(seed))
        assert changed.valid.shape == (60, 80)
        assert changed.valid.all()
        assert_consistent(changed, rounding=0.0, wave_tolerance=0.4)


@pytest.mark.parametrize(
    "changes",
    [{}, GROW, SHRINK, {"horizontal_flip": 1.0}, GROW | {"horizontal_flip": 1.0}],
    ids=lambda changes: "+".join(changes) or "crop",
)
def test_sparse_flow_stays_that_of_the_frames(changes):
    augment = SparseAugmentation(SparseAugmentationConfig(**only(**changes)))
    sample = affine_sample(share_known=0.3)
    for seed in range(12):
        changed = augment(sample, np.random.default_rng(seed))
        assert changed.valid.shape == (60, 80)
        # A moved pixel lies up to half a pixel from where it should, which is more in the source if that is larger.
        rounding = 0.5 * 2**0.5 if "scale_probability" in changes else 0.0
        assert_consistent(changed, rounding, wave_tolerance=0.4 + 12 * rounding * 0.07)


def whole(resize, sample: FlowSample, height: int, width: int) -> FlowSample:
    return resize(sample, (height, width), Window(0, 0, height, width))


def test_flow_scales_by_the_ratio_of_whole_sizes():
    # 90 by 1.005 is 90.45, which becomes 90: the frames keep their height, and so must the flow.
    sample = affine_sample()
    resized = whole(resize_dense, sample, *scaled_size((HEIGHT, WIDTH), (1, 1), 1.005, 1.005, 1))
    assert resized.valid.shape == (90, 121)
    torch.testing.assert_close(resized.flow[1, 5:-5, 60], sample.flow[1, 5:-5, 60], rtol=0, atol=0.05)
    constant = sample._replace(flow=torch.ones(2, HEIGHT, WIDTH))
    flow = whole(resize_dense, constant, 45, 240).flow
    assert torch.equal(flow, torch.tensor([2.0, 0.5])[:, None, None].expand(2, 45, 240))


def test_a_scale_too_small_is_raised_for_both_axes():
    assert scaled_size((100, 200), (50, 60), 0.1, 0.9, 1) == (51, 180)
    assert scaled_size((100, 200), (50, 60), 0.1, 0.1, 1) == (51, 102)
    assert scaled_size((100, 200), (120, 60), 1.0, 1.0, 1) == (121, 242)
    for height in range(20, 400):  # in floating point too
        assert scaled_size((height, height), (37, 20), 0.01, 0.01, 1) == (38, 38)


def test_unknown_flow_never_becomes_valid():
    sample = affine_sample()
    known = torch.rand(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1)) < 0.9
    clean = whole(resize_dense, sample, 131, 97)
    for mark in (1e9, 1.7e9, -1e10, float("inf"), float("nan")):
        holed = sample._replace(flow=sample.flow.where(known, mark), valid=known.float())
        resized = whole(resize_dense, holed, 131, 97)
        valid = resized.valid > 0
        assert 0.3 < valid.float().mean() < 0.9
        torch.testing.assert_close(resized.flow[:, valid], clean.flow[:, valid], rtol=0, atol=1e-5)
        assert (resized.flow[:, ~valid] == 0).all()
        # A pixel is valid if and only if all the pixels around its place in the source are.
        y = ((torch.arange(131) + 0.5) * HEIGHT / 131 - 0.5).clamp(0, HEIGHT - 1)
        x = ((torch.arange(97) + 0.5) * WIDTH / 97 - 0.5).clamp(0, WIDTH - 1)
        corners = [
            known[row.long()][:, column.long()] for row in (y.floor(), y.ceil()) for column in (x.floor(), x.ceil())
        ]
        on_a_line = ((x - x.round()).abs() < 1e-4)[None] | ((y - y.round()).abs() < 1e-4)[:, None]
        assert torch.equal(valid | on_a_line, torch.stack(corners).all(0) | on_a_line)
        # Beyond the outermost centres the outermost pixels are repeated, of which unknown neighbours take nothing away.
        framed = sample._replace(flow=sample.flow.clone(), valid=sample.valid.clone())
        framed.flow[:, :, 1], framed.valid[:, 1] = mark, 0
        assert whole(resize_dense, framed, 3 * HEIGHT, 3 * WIDTH).valid[:, 0].all()
        moved = whole(resize_sparse, holed, 131, 97)
        assert moved.flow.isfinite().all() and moved.flow.abs().max() < 30


def test_sparse_flow_is_moved_not_mixed():
    sample = affine_sample()
    valid = torch.zeros(HEIGHT, WIDTH)
    for row, column in ((0, 0), (10, 20), (HEIGHT - 1, WIDTH - 1)):
        valid[row, column] = 1
    flow = torch.where(valid > 0, torch.tensor([4.0, 8.0])[:, None, None], 300.0)
    moved = whole(resize_sparse, sample._replace(flow=flow, valid=valid), 2 * HEIGHT, 3 * WIDTH)
    # 3·20 + 1 is the pixel in the middle of what pixel 20 becomes; of the two beside the middle the second is taken
    assert moved.valid.nonzero().tolist() == [[1, 1], [21, 61], [2 * HEIGHT - 1, 3 * WIDTH - 2]]
    assert moved.flow[:, moved.valid > 0].T.tolist() == [[12.0, 16.0]] * 3
    assert (moved.flow[:, moved.valid == 0] == 0).all()
    # Every known pixel arrives when sizes stay, row and column 0 included, and none falls outside when they shrink.
    same = whole(resize_sparse, sample, HEIGHT, WIDTH)
    assert torch.equal(same.flow, sample.flow) and torch.equal(same.valid, sample.valid)
    assert whole(resize_sparse, sample, 31, 41).valid.all()


@pytest.mark.parametrize("size", [(61, 83), (90, 120), (137, 250), (180, 240)])
def test_frames_are_resampled_bilinearly_with_half_pixel_centres(size):
    frames = 255 * torch.rand(2, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(2))
    sample = affine_sample()._replace(image1=frames[0], image2=frames[1])
    expected = interpolate(frames, size=size, mode="bilinear", align_corners=False)
    for resize in (resize_dense, resize_sparse):
        torch.testing.assert_close(torch.stack(whole(resize, sample, *size)[:2]), expected, rtol=0, atol=0.02)


@pytest.mark.parametrize("resize", [resize_dense, resize_sparse])
def test_resizing_into_a_window_is_resizing_and_then_cutting(resize):
    sample, window = affine_sample(share_known=0.7), Window(13, 40, 60, 80)
    for size in ((101, 131), (80, 120)):
        parts = resize(sample, size, window), cut(whole(resize, sample, *size), window)
        assert all(torch.equal(*pair) for pair in zip(*parts, strict=True))


def test_of_sparse_pixels_that_meet_the_last_stays():
    sample = affine_sample()
    numbers = torch.arange(HEIGHT * WIDTH).view(HEIGHT, WIDTH) / 100
    halved = whole(resize_sparse, sample._replace(flow=torch.stack([numbers, -numbers])), HEIGHT // 2, WIDTH // 2)
    torch.testing.assert_close(halved.flow[0], numbers[1::2, 1::2] / 2)
    torch.testing.assert_close(halved.flow[1], -numbers[1::2, 1::2] / 2)


def test_edges_are_likelier_where_there_are_margins():
    draws = (np.arange(10_000) + 0.5) / 10_000
    starts = np.array([crop_start(59, (20, 20), draw) for draw in draws])
    shares = np.bincount(starts, minlength=60) / len(starts)
    np.testing.assert_allclose(shares[[0, 1, 30, 58, 59]], [0.21, 0.01, 0.01, 0.01, 0.21], atol=2e-4)
    starts = np.array([crop_start(59, (0, 20), draw) for draw in draws])
    np.testing.assert_allclose(np.bincount(starts, minlength=60)[[0, 59]] / len(starts), [1 / 80, 21 / 80], atol=2e-4)
    assert {crop_start(0, (20, 20), draw) for draw in (0.0, 0.5, np.nextafter(1, 0))} == {0}
    assert crop_start(59, (0, 0), float(np.nextafter(1, 0))) == 59


def test_a_crop_of_the_full_size_is_the_sample_and_a_larger_one_is_refused():
    sample = affine_sample()
    margins = ((20, 20), (20, 20))
    same = cut(sample, crop_window((HEIGHT, WIDTH), (HEIGHT, WIDTH), margins, np.array([0.9, 0.1])))
    assert all(torch.equal(*pair) for pair in zip(sample, same, strict=True))
    for crop in ((HEIGHT + 1, 20), (20, WIDTH + 1)):
        with pytest.raises(InputError, match=rf"crop of {crop[0]}x{crop[1]} px larger than the image of 90x120 px"):
            crop_window((HEIGHT, WIDTH), crop, margins, np.array([0.5, 0.5]))


def test_a_cut_holds_no_more_memory_than_it_shows():
    sample, window = affine_sample(), Window(10, 0, 20, WIDTH)
    parts = [
        cut(sample, window),
        resize_dense(sample, (180, WIDTH), window),
        resize_sparse(sample, (180, WIDTH), window),
    ]
    assert all(tensor.untyped_storage().nbytes() == 4 * tensor.numel() for part in parts for tensor in part)


def test_mirroring_twice_restores():
    sample = affine_sample()
    for axis in (-1, -2):
        once = mirror(sample, axis)
        assert not torch.equal(once.flow, sample.flow)
        assert all(torch.equal(*pair) for pair in zip(sample, mirror(once, axis), strict=True))
