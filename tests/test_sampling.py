import time
from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from rwtl.errors import InputError
from rwtl.flow.augmentation import Augmentation, AugmentationConfig, SparseAugmentation, SparseAugmentationConfig
from rwtl.flow.sample import FlowSample
from rwtl.random import evenly
from rwtl.sampling import Part, SampleStream


class Numbers(Dataset):
    """The whole numbers from `first` on."""

    def __init__(self, size: int, first: int = 0):
        self.size = size
        self.first = first

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self.size:
            raise IndexError(index)
        return self.first + index


class Scenes(Dataset):
    """Random frames with random flow."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> FlowSample:
        rng = torch.Generator().manual_seed(index)
        shapes = ((3, 48, 64), (3, 48, 64), (2, 48, 64), (48, 64))
        image1, image2, flow, valid = (torch.rand(shape, generator=rng) for shape in shapes)
        return FlowSample(255 * image1, 255 * image2, 10 * flow, (valid > 0.05).float())


def jitter(sample, rng):
    return sample[0] + float(rng.random())


def draw(sample, rng):
    return sample, float(rng.random())


def negate(sample, rng):
    return -sample, float(rng.random())


def stream(seed=3, samples=25):
    return SampleStream([Part(TensorDataset(torch.arange(10.0)), [jitter])], seed, samples)


def test_every_epoch_holds_every_sample_once_in_another_order():
    order = [int(value) for value in stream()]
    assert sorted(order[:10]) == sorted(order[10:20]) == list(range(10))
    assert order[:10] != order[10:20]
    assert len(order) == 25


def test_augmentation_differs_between_epochs_and_not_between_readings():
    values = list(stream())
    by_sample = sorted(values[:20], key=int)
    assert all(float(a) != float(b) for a, b in zip(by_sample[::2], by_sample[1::2], strict=True))
    assert values == list(stream())
    assert values[17] == stream()[17]
    assert values != list(stream(seed=4))


def test_augmentation_is_a_function_of_seed_epoch_and_the_samples_own_number():
    # Whatever the order: the same sample, alone in its epoch or among others, at whatever place.
    ten, twenty = (dict(SampleStream([Part(Numbers(size), [draw])], 3, size)) for size in (10, 20))
    assert all(ten[number] == twenty[number] for number in range(10))
    second_epoch = dict(list(SampleStream([Part(Numbers(10), [draw])], 3, 20))[10:])
    assert not set(second_epoch.values()) & set(ten.values())


def test_every_part_of_a_mixture_has_its_share_and_its_own_augmentation():
    parts = [Part(Numbers(3), [draw], 100), Part(Numbers(7, first=1000), [negate], 5), Part(Numbers(11, 2000), [draw])]
    size = 300 + 35 + 11
    assert [len(part) for part in parts] == [300, 35, 11]
    values = list(SampleStream(parts, 1, 2 * size))
    for epoch in (values[:size], values[size:]):
        counts = Counter(number for number, _ in epoch)
        assert counts == (
            {number: 100 for number in range(3)}
            | {-1000 - number: 5 for number in range(7)}
            | {2000 + number: 1 for number in range(11)}
        )
    # Shuffled together, not one part after another.
    halves = [sum(number < 0 for number, _ in half) for half in (values[: size // 2], values[size // 2 : size])]
    assert min(halves) > 5


def test_repeats_of_a_sample_are_augmented_differently():
    values = list(SampleStream([Part(Numbers(2), [draw], 50), Part(Numbers(2), [draw], 50)], 1, 400))
    assert len({random for _, random in values}) == 400


def test_a_mixture_of_a_million_is_no_burden():
    start = time.perf_counter()
    mixture = SampleStream([Part(Numbers(10_000), [draw], 150), Part(Numbers(500_000), [draw])], 1, 2_000_000)
    mixture[0]
    assert time.perf_counter() - start < 2  # shuffling two million takes some 0.05 s; a list of them would take longer
    start = time.perf_counter()
    assert len({number for number, _ in (mixture[k] for k in range(1000))}) > 900
    assert time.perf_counter() - start < 2  # the order is kept: a shuffle for each would take a minute


def loaded_by_two(dataset, batch_size):
    return list(DataLoader(dataset, batch_size, num_workers=2, multiprocessing_context="spawn"))


@pytest.mark.parametrize("samples", [12, 20])
def test_the_stream_does_not_depend_on_workers(samples):
    here, there = list(DataLoader(stream(samples=samples), 5)), loaded_by_two(stream(samples=samples), 5)
    assert torch.equal(torch.cat(here), torch.cat(there))


def test_augmented_flow_does_not_depend_on_workers():
    sizes = {"height": 40, "width": 48, "min_scale": -0.2, "max_scale": 0.6}
    dense, sparse = Augmentation(AugmentationConfig(**sizes)), SparseAugmentation(SparseAugmentationConfig(**sizes))
    mixture = SampleStream([Part(Scenes(), [dense]), Part(Scenes(), [sparse], 2)], 7, 18)
    here = list(DataLoader(mixture, 6))
    for one, two in zip(here, loaded_by_two(mixture, 6), strict=True):
        assert all(torch.equal(*pair) for pair in zip(one, two, strict=True))
    first, second = (torch.cat([batch.image1 for batch in here])[part] for part in (slice(9), slice(9, 18)))
    differences = (first[:, None] - second[None]).abs().amax(dim=(2, 3, 4))
    assert differences.min() > 0  # no frame comes again in the second epoch


def test_the_order_depends_on_the_seed_and_is_not_that_of_the_augmentation():
    orders = [[number for number, _ in SampleStream([Part(Numbers(50), [draw])], seed, 50)] for seed in (1, 2)]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(50))


def test_what_cannot_be_trained_on_is_refused():
    with pytest.raises(InputError, match="Numbers holds no sample"):
        Part(Numbers(0), [draw])
    with pytest.raises(InputError, match="repeats of Numbers is 0"):
        Part(Numbers(3), [draw], 0)
    with pytest.raises(InputError, match="no data set"):
        SampleStream([], 1, 10)
    with pytest.raises(IndexError):
        SampleStream([Part(Numbers(3))], 1, 10)[10]
    assert np.isin([SampleStream([Part(Numbers(3))], 1, 10)[k] for k in range(10)], range(3)).all()


def test_evenly_spread_indices_hold_both_ends():
    assert evenly(9, 3) == [0, 4, 8]
    assert evenly(10, 4) == [0, 3, 6, 9]
    assert evenly(4, 3) == [0, 2, 3], "1.5 is rounded to the even number"
    assert evenly(3, 10) == [0, 1, 2] and evenly(5, 1) == [0] and evenly(1, 5) == [0] and evenly(0, 5) == []
