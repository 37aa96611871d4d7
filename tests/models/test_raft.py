from inspect import unwrap

import pytest
import torch

from rwtl.errors import InputError
from rwtl.models.correlation import AllPairsCorrelation, pixel_grid, sample_at
from rwtl.models.parts import ModelConfig, crop_to, pad_to_multiple_of_8
from rwtl.models.raft import RAFT, build_raft
from rwtl.models.update import upsample_convex


def bilinear(image, x, y):
    """Bilinear interpolation by definition; zero outside."""
    height, width = image.shape
    total = 0.0
    x0, y0 = int(torch.floor(x)), int(torch.floor(y))
    for column in (x0, x0 + 1):
        for row in (y0, y0 + 1):
            if 0 <= column < width and 0 <= row < height:
                total += float(image[row, column] * (1 - abs(x - column)) * (1 - abs(y - row)))
    return total


@pytest.mark.parametrize(("variant", "parameters"), [("basic", 5_257_536), ("small", 990_162)])
def test_parameters_are_those_of_official_raft(variant, parameters):
    assert sum(p.numel() for p in build_raft(variant).parameters()) == parameters


def test_lookup_is_the_window_around_the_coordinates_with_x_as_slow_index():
    torch.manual_seed(0)
    correlation = AllPairsCorrelation(levels=2, radius=1)
    features1, features2 = torch.randn(2, 1, 6, 4, 8).unbind(0)
    coordinates = pixel_grid(1, 4, 8, torch.device("cpu")) + torch.randn(1, 2, 4, 8)
    found, _ = correlation.lookup(correlation.prepare(features1, features2), coordinates)
    assert found.shape == (1, 18, 4, 8)
    for row, column in ((0, 0), (2, 3), (3, 7)):
        volume = torch.einsum("c,chw->hw", features1[0, :, row, column], features2[0]) / 6**0.5
        pooled = volume.reshape(2, 2, 4, 2).mean(dim=(1, 3))
        x, y = coordinates[0, :, row, column]
        for level, image in enumerate((volume, pooled)):
            for i in range(3):
                for j in range(3):
                    expected = bilinear(image, x / 2**level + i - 1, y / 2**level + j - 1)
                    assert float(found[0, level * 9 + i * 3 + j, row, column]) == pytest.approx(expected, abs=1e-5)


def test_sampling_an_image_of_one_row_is_finite_and_zero_outside():
    image = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    points = torch.tensor([[[[1.0, 0.0], [1.5, 0.0], [1.0, 1.0], [1.0, 0.5]]]])
    assert sample_at(image, points).flatten().tolist() == pytest.approx([2.0, 2.5, 0.0, 1.0])


def test_convex_upsampling_by_definition():
    torch.manual_seed(0)
    flow, mask = torch.randn(1, 2, 3, 4), torch.randn(1, 576, 3, 4)
    fine = upsample_convex(flow, mask)
    padded = torch.nn.functional.pad(8 * flow, (1, 1, 1, 1))
    for row, column, sub_row, sub_column in ((0, 0, 0, 0), (1, 2, 3, 5), (2, 3, 7, 7)):
        weights = mask[0, :, row, column].reshape(9, 8, 8)[:, sub_row, sub_column].softmax(dim=0)
        neighbours = padded[0, :, row : row + 3, column : column + 3].reshape(2, 9)
        expected = (neighbours * weights).sum(dim=1)
        torch.testing.assert_close(fine[0, :, 8 * row + sub_row, 8 * column + sub_column], expected)


@pytest.mark.parametrize("variant", ["basic", "small"])
@pytest.mark.parametrize("size", [(8, 8), (8, 40), (41, 67)])
@pytest.mark.parametrize("correlation", ["all_pairs", "on_demand"])
def test_any_size_gives_a_finite_flow_of_that_size_after_each_iteration(variant, size, correlation):
    torch.manual_seed(0)
    images = 255 * torch.rand(2, 2, 3, *size)
    flows = build_raft(variant, correlation=correlation).eval()(images[0], images[1], iterations=2)
    assert [tuple(flow.shape) for flow in flows] == [(2, 2, *size)] * 2
    assert all(torch.isfinite(flow).all() for flow in flows)


def test_too_small_images_and_senseless_arguments_are_named():
    model, images = build_raft("small"), torch.zeros(2, 1, 3, 16, 24)
    with pytest.raises(InputError, match=r"images are 7×24 px; RAFT needs at least 8×8"):
        model(*images[..., :7, :])
    with pytest.raises(InputError, match="iterations is 0"):
        model.estimate(*images, iterations=0)
    with pytest.raises(InputError, match=r"initial flow is \(1, 2, 3, 3\); .* must be \(1, 2, 2, 3\)"):
        model.estimate(*images, initial=torch.zeros(1, 2, 3, 3))


A = torch.zeros(1, 3, 16, 24)
NOT_FRAMES = {
    "another size": (A, A[..., :22], r"image1 is of shape \(1, 3, 16, 24\), image2 of \(1, 3, 16, 22\); .* be equal"),
    "another batch": (A, A.expand(2, -1, -1, -1), r"image2 of \(2, 3, 16, 24\); they must be equal"),
    "no batch": (A[0], A[0], r"image1 is of shape \(3, 16, 24\); .*: image\[None\] adds"),
    "channels last": (
        A,
        A.permute(0, 2, 3, 1),
        r"image2 is of shape \(1, 16, 24, 3\); .*: image\.permute\(0, 3, 1, 2\)",
    ),
    "one image as read": (A[0].permute(1, 2, 0), A, r"shape \(16, 24, 3\); .*image\.permute\(2, 0, 1\)\[None\]"),
    "grey": (A[:, :1], A[:, :1], r"shape \(1, 1, 16, 24\); .*repeats the grey channel"),
    "RGBA": (torch.zeros(1, 4, 16, 24), A, r"shape \(1, 4, 16, 24\); it must be \(batch, 3, .*image\[:, :3\]"),
    "an empty batch": (A[:0], A[:0], r"image1 is of shape \(0, 3, 16, 24\); it must be \(batch, 3"),
    "numpy": (A.numpy(), A, r"image1 is a ndarray; it must be a tensor"),
    "truth": (A > 0, A, r"image1 holds bool"),
    "NaN": (A, A.index_fill(3, torch.tensor(5), torch.nan), r"image2 holds 48 .* first at \(0, 0, 0, 5\)"),
}


@pytest.mark.parametrize("what", NOT_FRAMES)
@pytest.mark.parametrize("call", ["estimate", "forward"])
def test_what_are_no_two_frames_is_named(what, call):
    image1, image2, words = NOT_FRAMES[what]
    called = unwrap(getattr(RAFT, call))  # without the tests' own check of shapes
    with pytest.raises(InputError, match=words):
        called(build_raft("small").eval(), image1, image2, 1)


INITIAL = torch.zeros(1, 2, 2, 3)
NO_START = {
    "numpy": ({"initial": INITIAL.numpy()}, r"^the initial flow is a ndarray; it must be a tensor"),
    "NaN": ({"initial": INITIAL + torch.nan}, r"^the initial flow holds a value that is not finite"),
    "padding": ({"padding": "sintle"}, r"^padding is 'sintle'; it must be sintel or kitti"),
}


@pytest.mark.parametrize("what", NO_START)
def test_what_is_no_start_or_padding_of_an_estimate_is_named(what):
    arguments, words = NO_START[what]
    with pytest.raises(InputError, match=words):
        unwrap(RAFT.estimate)(build_raft("small").eval(), A, A, 1, **arguments)


def test_an_initial_flow_of_other_numbers_is_converted():
    model, start = build_raft("small").eval(), torch.ones(1, 2, 2, 3)
    expected = model.estimate(A, A, 1, start).flow
    assert torch.equal(model.estimate(A, A, 1, start.double()).flow, expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64, torch.float16, torch.int64])
def test_frames_of_other_numbers_are_converted(dtype):
    torch.manual_seed(0)
    images, model = torch.randint(0, 256, (2, 1, 3, 16, 24)), build_raft("small").eval()
    expected = model.estimate(*images.float(), iterations=2).flow
    assert torch.equal(model.estimate(*images.to(dtype), iterations=2).flow, expected)
    assert torch.equal(model(*images.to(dtype), iterations=2)[-1], expected)


def test_an_estimate_can_be_exported():
    images, model = 255 * torch.rand(2, 1, 3, 16, 24), build_raft("small").eval()

    class Estimate(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.raft = model

        def forward(self, image1, image2):
            return unwrap(RAFT.estimate)(self.raft, image1, image2, 2).flow

    exported = torch.export.export(Estimate(), tuple(images), strict=False).module()
    torch.testing.assert_close(exported(*images), model.estimate(*images, iterations=2).flow, rtol=0, atol=1e-4)


@pytest.mark.parametrize("variant", ["basic", "small"])
def test_an_estimate_is_the_last_flow_of_the_sequence(variant):
    torch.manual_seed(0)
    images = 255 * torch.rand(2, 2, 3, 40, 56)
    model = build_raft(variant).eval()
    with torch.no_grad():
        expected = model(*images, iterations=3)[-1]
    found = model.estimate(*images, iterations=3)
    torch.testing.assert_close(found.flow, expected, rtol=0, atol=1e-4)
    assert found.coarse.shape == (2, 2, 5, 7) and not found.flow.requires_grad


def test_each_pair_of_a_batch_is_estimated_for_itself():
    torch.manual_seed(0)
    images = 255 * torch.rand(2, 3, 3, 32, 48)
    model = build_raft("basic").eval()
    together = model.estimate(*images, iterations=3).flow
    alone = torch.cat([model.estimate(a[None], b[None], iterations=3).flow for a, b in zip(*images, strict=True)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4)


def test_a_warm_start_begins_where_it_is_told():
    torch.manual_seed(0)
    images = 255 * torch.rand(2, 1, 3, 40, 56)
    model = build_raft("small").eval()
    twice = model.estimate(*images, iterations=2)
    initial = torch.randn(1, 2, 5, 7)
    started = model.estimate(*images, iterations=1, initial=initial)
    assert (started.coarse - initial).abs().max() < (twice.coarse - initial).abs().max()
    assert torch.equal(model.estimate(*images, iterations=2, initial=torch.zeros(1, 2, 5, 7)).flow, twice.flow)


def test_padding_repeats_the_border_evenly_and_is_undone():
    images = torch.rand(1, 3, 10, 13)
    padded, window = pad_to_multiple_of_8(images)
    assert padded.shape == (1, 3, 16, 16)
    assert window == (3, 1, 10, 13)
    assert torch.equal(padded[0, :, 0, 1:14], images[0, :, 0])
    assert torch.equal(crop_to(padded, window), images)
    padded, window = pad_to_multiple_of_8(images, "kitti")  # the height at the bottom alone
    assert window == (0, 1, 10, 13)
    assert torch.equal(crop_to(padded, window), images) and torch.equal(padded[0, :, 15, 1:14], images[0, :, 9])


def test_gradients_of_a_later_iteration_do_not_pass_through_an_earlier_flow():
    torch.manual_seed(0)
    model = build_raft("small")
    images = 255 * torch.rand(2, 1, 3, 32, 32)
    captured = []
    model.update_block.flow_head.register_forward_hook(lambda *a: (a[2].retain_grad(), captured.append(a[2]))[0])
    model(images[0], images[1], iterations=2)[-1].sum().backward()
    assert captured[0].grad is None
    assert captured[1].grad is not None


def test_unknown_variant_and_norm_are_named():
    with pytest.raises(InputError, match=r"'tiny'.*basic, small"):
        build_raft("tiny")
    with pytest.raises(InputError, match=r"model\.feature_norm is 'group'; choose one of instance, batch, none"):
        ModelConfig("small", "group")
