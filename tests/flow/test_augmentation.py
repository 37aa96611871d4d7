import numpy as np
import pytest
import torch

from rwtl.errors import InputError
from rwtl.flow.augmentation import Augmentation, AugmentationConfig, SparseAugmentation, SparseAugmentationConfig
from rwtl.flow.sample import FlowSample
from rwtl.sections import typed


def _rotation_sample(height: int = 9, width: int = 13) -> FlowSample:
    """Frames whose first two channels are the pixel's own place; the flow is that of a rotation about the centre."""
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    image = torch.stack([x, y, x + y])
    flow = torch.stack([-(y - (height - 1) / 2), x - (width - 1) / 2])
    return FlowSample(image, image + 100, flow, ((x + y) % 2 == 0).float())


def _scene(height: int = 60, width: int = 90) -> FlowSample:
    rng = torch.Generator().manual_seed(0)
    image1, image2 = 255 * torch.rand(2, 3, height, width, generator=rng)
    return FlowSample(image1, image2, 8 * torch.randn(2, height, width, generator=rng), torch.ones(height, width))


OFF = {"height": 60, "width": 90, "min_scale": 0.0, "max_scale": 0.0, "scale_probability": 0.0, "horizontal_flip": 0.0}
OFF |= {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "eraser_probability": 0.0}
DENSE_OFF = OFF | {"max_stretch": 0.0, "stretch_probability": 0.0, "vertical_flip": 0.0}
DENSE_OFF |= {"asymmetric_colour_probability": 0.0}


def _dense(**changes) -> Augmentation:
    return Augmentation(AugmentationConfig(**(DENSE_OFF | changes)))


def _sparse(**changes) -> SparseAugmentation:
    return SparseAugmentation(SparseAugmentationConfig(**(OFF | changes)))


def test_everything_off_hands_on_the_whole_sample():
    sample = _scene()
    for augment in (_dense(), _sparse()):
        for seed in range(5):
            same = augment(sample, np.random.default_rng(seed))
            assert all(one is other for one, other in zip(sample, same, strict=True))


@pytest.mark.parametrize("augment", [_dense, _sparse])
def test_everything_on_leaves_the_data_set_alone(augment):
    sample = _scene()
    before = [tensor.clone() for tensor in sample]
    on = {"scale_probability": 0.5, "horizontal_flip": 0.5, "eraser_probability": 1.0, "brightness": 0.4, "hue": 0.1}
    change = augment(height=40, width=50, max_scale=0.5, **on)
    for seed in range(20):
        changed = change(sample, np.random.default_rng(seed))
        assert [tuple(tensor.shape) for tensor in changed] == [(3, 40, 50), (3, 40, 50), (2, 40, 50), (40, 50)]
        assert all(tensor.dtype == torch.float32 and tensor.is_contiguous() for tensor in changed)
        assert all(0 <= image.min() and image.max() <= 255.01 for image in changed[:2])
    assert all(torch.equal(*pair) for pair in zip(before, sample, strict=True))


def test_defaults_are_the_official_ones():
    config = AugmentationConfig(368, 496, -0.1, 1.0)
    sparse = SparseAugmentationConfig(288, 960, -0.2, 0.4)
    shared = {"scale_probability": 0.8, "horizontal_flip": 0.5, "eraser_probability": 0.5}
    for key, value in shared.items():
        assert getattr(config, key) == getattr(sparse, key) == value
    assert (config.max_stretch, config.stretch_probability, config.vertical_flip) == (0.2, 0.8, 0.1)
    assert config.asymmetric_colour_probability == 0.2
    for part, most in ((config, 0.4), (sparse, 0.3)):
        assert part.brightness == part.contrast == part.saturation == most
    assert config.hue == pytest.approx(0.15915, abs=1e-4) and sparse.hue == pytest.approx(0.09549, abs=1e-4)


def _share(changes: list[FlowSample], test) -> float:
    return float(np.mean([bool(test(sample)) for sample in changes]))


def _ramps() -> FlowSample:
    """As `_rotation_sample`, but with small flow, and large enough to be resized."""
    sample = _rotation_sample(60, 90)
    return sample._replace(flow=sample.flow / 10, valid=torch.ones(60, 90))


def test_flips_and_scales_are_as_frequent_as_asked():
    sample = _ramps()
    scales = {"height": 20, "width": 30, "min_scale": -0.5, "max_scale": 0.7, "scale_probability": 0.8}
    flips = {"horizontal_flip": 0.5, "vertical_flip": 0.1}
    stretches = {"max_stretch": 0.2, "stretch_probability": 0.8}
    change = _dense(**scales, **flips, **stretches)
    changed = [change(sample, np.random.default_rng(seed)) for seed in range(1500)]
    assert 0.46 < _share(changed, lambda one: one.image1[0].diff(dim=1).median() < 0) < 0.54
    assert 0.08 < _share(changed, lambda one: one.image1[1].diff(dim=0).median() < 0) < 0.12
    steps = np.array(
        [[one.image1[0].diff(dim=1).median().abs(), one.image1[1].diff(dim=0).median().abs()] for one in changed]
    )
    log_x, log_y = -np.log2(steps).T
    scaled = (np.abs(log_x) > 1e-3) | (np.abs(log_y) > 1e-3)
    assert 0.76 < scaled.mean() < 0.84
    # Sizes are whole, so that a factor is off by up to half a pixel of 30 or so.
    stretch = (log_x - log_y)[scaled]
    assert 0.74 < np.mean(np.abs(stretch) > 0.03) + 0.12 * 0.8 < 0.90  # some stretches are smaller than that
    assert 0.32 < np.abs(stretch).max() < 0.43
    assert log_x.min() > -0.75 and log_x.min() < -0.55 and log_x.max() < 0.92 and log_x.max() > 0.8
    mean = (log_x + log_y)[scaled] / 2
    assert abs(mean.mean() - 0.1) < 0.03 and abs(mean.std() - np.hypot(1.2, 0.4 / 2**0.5 * 0.8**0.5) / 12**0.5) < 0.03


def test_sparse_scales_are_one_for_both_axes():
    change = _sparse(height=20, width=30, min_scale=-0.5, max_scale=0.7, scale_probability=0.8, horizontal_flip=0.5)
    changed = [change(_ramps(), np.random.default_rng(seed)) for seed in range(600)]
    assert 0.43 < _share(changed, lambda one: one.image1[0].diff(dim=1).median() < 0) < 0.57
    assert _share(changed, lambda one: one.image1[1].diff(dim=0).median() < 0) == 0
    steps = np.array(
        [[one.image1[0].diff(dim=1).median().abs(), one.image1[1].diff(dim=0).median()] for one in changed]
    )
    log_x, log_y = -np.log2(steps).T
    assert np.abs(log_x - log_y).max() < 0.03
    assert log_x.min() < -0.45 and log_x.min() > -0.52 and 0.65 < log_x.max() < 0.72
    assert 0.75 < np.mean(np.abs(log_x) > 1e-3) < 0.85


def test_small_samples_are_enlarged_to_fit_and_else_refused():
    for augment in (_dense, _sparse):
        change = augment(height=70, width=80, scale_probability=1.0)
        assert change(_scene(), np.random.default_rng(0)).valid.shape == (70, 80)
        change = augment(height=70, width=80)
        with pytest.raises(InputError, match="crop of 70x80 px larger than the image of 60x90 px"):
            change(_scene(), np.random.default_rng(0))


def test_dense_crops_are_anywhere_and_sparse_ones_favour_every_edge_but_the_top():
    sample = _ramps()
    for change, top, bottom, sides in (
        (_dense(height=51, width=81), 1 / 10, 1 / 10, 1 / 10),
        (_sparse(height=51, width=81), 1 / 30, 21 / 30, 51 / 110),
    ):
        starts = [change(sample, np.random.default_rng(seed)).image1[:2, 0, 0].tolist() for seed in range(800)]
        shares = [np.mean([start[axis] == edge for start in starts]) for axis, edge in ((1, 0), (1, 9), (0, 0), (0, 9))]
        np.testing.assert_allclose(shares, [top, bottom, sides, sides], atol=0.06)


def test_colours_are_asymmetric_as_often_as_asked_and_never_for_sparse_flow():
    grey = torch.full((3, 60, 90), 100.0)
    sample = _scene()._replace(image1=grey, image2=grey)
    dense = _dense(brightness=0.4, asymmetric_colour_probability=0.2)
    changed = [dense(sample, np.random.default_rng(seed)) for seed in range(500)]
    assert 0.15 < _share(changed, lambda one: not torch.equal(one.image1, one.image2)) < 0.25
    changed = [_sparse(brightness=0.3)(sample, np.random.default_rng(seed)) for seed in range(60)]
    assert _share(changed, lambda one: torch.equal(one.image1, one.image2)) == 1
    assert _share(changed, lambda one: not torch.equal(one.image1, grey)) > 0.9


@pytest.mark.parametrize("augment", [_dense, _sparse])
def test_only_frame_2_is_erased_and_as_often_as_asked(augment):
    sample = _scene()
    changed = [augment(eraser_probability=0.5)(sample, np.random.default_rng(seed)) for seed in range(1000)]
    assert 0.45 < _share(changed, lambda one: not torch.equal(one.image2, sample.image2)) < 0.55
    assert _share(changed, lambda one: torch.equal(one.image1, sample.image1)) == 1


def test_changing_one_probability_leaves_the_rest_as_it_was():
    sample = _scene()
    on = {"height": 40, "width": 50, "max_scale": 0.6, "scale_probability": 0.5}
    for seed in range(20):
        for augment in (_dense, _sparse):
            plain, erased, flipped = (
                augment(**on, **more)(sample, np.random.default_rng(seed))
                for more in ({}, {"eraser_probability": 1.0}, {"horizontal_flip": 1.0})
            )
            assert torch.equal(plain.image1, erased.image1) and torch.equal(plain.flow, erased.flow)
            assert torch.equal(plain.image1, flipped.image1.flip(-1)) and torch.equal(
                plain.image2, flipped.image2.flip(-1)
            )


def test_augmentation_is_a_function_of_the_generator():
    for change in (Augmentation(AugmentationConfig(40, 50, -0.1, 1.0)), _sparse(height=40, width=50, brightness=0.3)):
        first, again, other = (change(_scene(), np.random.default_rng(seed)) for seed in (3, 3, 4))
        assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
        assert not torch.equal(first.image1, other.image1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 0}, "height is 0; it must be at least 1"),
        ({"width": -3}, "width is -3; it must be at least 1"),
        ({"min_scale": 0.5}, "min_scale is 0.5, above max_scale 0.0"),
        ({"min_scale": float("nan")}, "min_scale is nan"),
        ({"max_scale": 5.0}, "max_scale is 5.0; it must lie in -4 to 4"),
        ({"hue": 0.6}, "hue is 0.6; it must lie in 0 to 0.5"),
        *[
            ({key: value}, f"{key} is {value}; it must lie in 0 to 1")
            for key in (
                "scale_probability",
                "horizontal_flip",
                "brightness",
                "contrast",
                "saturation",
                "eraser_probability",
            )
            for value in (-0.1, 1.5)
        ],
    ],
)
def test_values_outside_their_range_are_refused(changes, message):
    for augment in (_dense, _sparse):
        with pytest.raises(InputError, match=message):
            augment(**changes)


def test_values_of_dense_augmentation_outside_their_range_are_refused():
    for key, value in (
        ("max_stretch", -0.1),
        ("stretch_probability", 1.1),
        ("vertical_flip", -1.0),
        ("asymmetric_colour_probability", float("nan")),
    ):
        with pytest.raises(InputError, match=f"{key} is {value}"):
            _dense(**{key: value})


def test_a_section_of_the_configuration_is_a_config():
    values = {"height": 368, "width": 496, "min_scale": -0.1, "max_scale": 1, "horizontal_flip": 0}
    assert typed(AugmentationConfig, values, "augmentation") == AugmentationConfig(
        368, 496, -0.1, 1.0, horizontal_flip=0.0
    )
    with pytest.raises(InputError, match="vertical_flip"):
        typed(SparseAugmentationConfig, values | {"vertical_flip": 0.1}, "augmentation")
