"""Colours against a definition in floating point; boxes against their description."""

import colorsys

import numpy as np
import pytest
import torch

from rwtl.flow.augmentation import change_colours, erase_boxes

GREY = torch.tensor([0.299, 0.587, 0.114])  # luma of ITU-R 601, which Pillow's mode L is
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
ORDER = (0.1, 0.2, 0.3, 0.4)  # draws of which the ranks are brightness, contrast, saturation, hue


def frames(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random colours; the second frame is darker."""
    image1, image2 = torch.randint(0, 256, (2, 3, 30, 40), generator=torch.Generator().manual_seed(seed)).float()
    return image1, (image2 / 3).round()


def only(change: int, amount: float) -> list[float]:
    return [amount if k == change else 0.0 for k in range(4)]


def draws(amount_draw: float, order: tuple[float, ...] = ORDER) -> np.ndarray:
    """The same numbers for both frames: every change has the amount (2·amount_draw - 1) times its most."""
    return np.tile(np.array([amount_draw] * 4 + list(order)), (2, 1))


def luma(image: torch.Tensor) -> torch.Tensor:
    return torch.einsum("c,chw->hw", GREY, image)


@pytest.mark.parametrize(("draw", "factor"), [(0.0, 0.6), (0.25, 0.8), (0.5, 1.0), (0.9, 1.32)])
def test_brightness_contrast_and_saturation_are_the_defined_ones(draw, factor):
    images = frames()
    both = torch.cat(images, dim=1)
    around = {BRIGHTNESS: 0.0, CONTRAST: luma(both).mean(), SATURATION: luma(both)}
    for change, centre in around.items():
        expected = (centre + factor * (both - centre)).clamp(0, 255)
        changed = torch.cat(change_colours(*images, only(change, 0.4), False, draws(draw)), dim=1)
        # One level for whole numbers, and of the centre, which is rounded too, what is mixed in.
        assert (changed - expected).abs().max() <= 1.0 + 0.6 * abs(1 - factor) + 1e-3, change
        assert torch.equal(changed, changed.round())


@pytest.mark.parametrize(("draw", "turn"), [(0.0, -0.25), (0.3, -0.1), (1 - 1e-9, 0.25)])
def test_the_hue_is_turned_by_a_share_of_the_circle(draw, turn):
    images = frames()
    changed = change_colours(*images, only(HUE, 0.25), False, draws(draw))
    for before, after in zip(images, changed, strict=True):
        pixels = before.reshape(3, -1).T / 255
        turned = []
        for red, green, blue in pixels.tolist():
            hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
            turned.append(colorsys.hsv_to_rgb((hue + turn) % 1.0, saturation, value))
        error = (after.reshape(3, -1).T - 255 * torch.tensor(turned)).abs()
        # A level of hue is up to 6 levels of a channel, and up to three are lost: to whole numbers before the turn and
        # in it, and to a wrap after 256 levels instead of 255. One more level goes with the saturation.
        assert error.max() < 19
        assert error.mean() < 3
        assert (after - before).abs().mean() > 3 * error.mean()


def test_symmetric_contrast_is_that_of_both_frames_and_asymmetric_that_of_each():
    images = frames()
    symmetric = change_colours(*images, only(CONTRAST, 0.4), False, draws(0.0))
    asymmetric = change_colours(*images, only(CONTRAST, 0.4), True, draws(0.0))
    mean = luma(torch.cat(images, dim=1)).mean()
    for before, alike, apart in zip(images, symmetric, asymmetric, strict=True):
        assert abs(luma(alike).mean() - (mean + 0.6 * (luma(before).mean() - mean))) < 1.0
        assert abs(luma(apart).mean() - luma(before).mean()) < 1.0


def test_asymmetric_colours_use_the_second_row_for_frame_2():
    images = frames()
    two = np.stack([draws(0.1)[0], draws(0.9)[0]])
    asymmetric = change_colours(*images, (0.4, 0.4, 0.4, 0.1), True, two)
    alone = change_colours(images[1], images[0], (0.4, 0.4, 0.4, 0.1), True, two[::-1].copy())
    assert torch.equal(asymmetric[0], alone[1]) and torch.equal(asymmetric[1], alone[0])
    symmetric = change_colours(*images, (0.4, 0.4, 0.4, 0.1), False, two)
    assert not torch.equal(symmetric[1], asymmetric[1])


def test_the_order_of_the_changes_is_drawn():
    # Darkening before an increase of contrast is not the same as after it.
    images = frames()
    amounts = (0.4, 0.4, 0.0, 0.0)
    numbers = np.array([0.0, 0.9, 0.5, 0.5, 0.1, 0.2, 0.3, 0.4])
    swapped = np.array([0.0, 0.9, 0.5, 0.5, 0.2, 0.1, 0.3, 0.4])
    results = []
    for row in (numbers, swapped):
        results.append(change_colours(*images, amounts, False, np.stack([row, row]))[0])
    steps = [draws(0.0), draws(0.9)]
    darker = change_colours(*images, only(BRIGHTNESS, 0.4), False, steps[0])
    assert torch.equal(results[0], change_colours(*darker, only(CONTRAST, 0.4), False, steps[1])[0])
    contrasted = change_colours(*images, only(CONTRAST, 0.4), False, steps[1])
    assert torch.equal(results[1], change_colours(*contrasted, only(BRIGHTNESS, 0.4), False, steps[0])[0])
    assert not torch.equal(*results)


def test_amounts_are_evenly_spread():
    grey = torch.full((3, 4, 4), 100.0)
    rng = np.random.default_rng(0)
    levels = [
        change_colours(grey, grey, only(BRIGHTNESS, 0.4), False, rng.random((2, 8)))[0][0, 0, 0] for _ in range(800)
    ]
    counts, _ = np.histogram(np.array(levels), bins=8, range=(59.5, 140.5))
    assert counts.min() > 60 and counts.max() < 145


def test_colours_switched_off_are_left_alone():
    images = tuple(image + 0.25 for image in frames())
    for asymmetric in (False, True):
        changed = change_colours(*images, (0.0, 0.0, 0.0, 0.0), asymmetric, draws(0.9))
        assert changed[0] is images[0] and changed[1] is images[1]


def test_erased_boxes_are_as_described():
    image = frames()[0].repeat(1, 10, 10)  # 300 by 400
    before = image.clone()
    mean = image.mean(dim=(1, 2))
    sides, boxes = set(), []
    rng = np.random.default_rng(0)
    for _ in range(150):
        numbers = rng.random(9)
        erased = erase_boxes(image, numbers)
        inside = (erased == mean[:, None, None]).all(0)
        assert torch.equal(erased[:, ~inside], image[:, ~inside])
        expected = torch.zeros(300, 400, dtype=torch.bool)
        count = 1 if numbers[0] < 0.5 else 2
        for left, top, across, down in numbers[1:].reshape(2, 4)[:count]:
            left, top, across, down = int(400 * left), int(300 * top), 50 + int(50 * across), 50 + int(50 * down)
            expected[top : top + down, left : left + across] = True
            sides |= {across, down}
        assert torch.equal(inside, expected)
        boxes.append(count)
    assert torch.equal(image, before)
    assert min(sides) == 50 and max(sides) == 99
    assert 50 < boxes.count(1) < 100
