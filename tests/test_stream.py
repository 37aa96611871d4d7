import torch
from torch.utils.data import DataLoader, TensorDataset

from rwtl.data.stream import SampleStream


def jitter(sample, rng):
    return sample[0] + float(rng.random())


def stream(seed=3, samples=25):
    return SampleStream(TensorDataset(torch.arange(10.0)), [jitter], seed, samples)


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


def test_the_stream_does_not_depend_on_workers():
    batches = [torch.cat(list(DataLoader(stream(), 5, num_workers=workers))) for workers in (0, 2)]
    assert torch.equal(*batches)
