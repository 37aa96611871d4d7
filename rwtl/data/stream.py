"""A data set as an endless, reproducible stream of shuffled and augmented samples."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from torch.utils.data import Dataset


def counter_rng(seed: int, *counter: int) -> np.random.Generator:
    """Return a generator that is a function of the seed and up to three counters, and of nothing else."""
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, *counter, *[0] * (3 - len(counter))]))


@lru_cache(maxsize=4)
def _order(size: int, seed: int, epoch: int) -> np.ndarray:
    return counter_rng(seed, epoch, 1).permutation(size)


class SampleStream(Dataset):
    """Sample k of a training run, for any k: shuffled anew in every epoch, augmented by a function of (seed, k).

    The order and the augmentation do not depend on workers, on interruptions or on the model that is trained, so
    conditions of one seed see the same samples.

    Args:
        dataset: a map-style data set.
        augmentations: functions of (sample, generator) to a sample, applied in turn.
        seed: decides order and augmentation.
        samples: length of the stream.
    """

    def __init__(self, dataset: Dataset, augmentations: Sequence[Callable], seed: int, samples: int):
        self.dataset = dataset
        self.augmentations = list(augmentations)
        self.seed = seed
        self.samples = samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, k: int) -> Any:
        if not 0 <= k < self.samples:
            raise IndexError(k)
        epoch, position = divmod(k, len(self.dataset))
        sample = self.dataset[int(_order(len(self.dataset), self.seed, epoch)[position])]
        rng = counter_rng(self.seed, k, 2)
        for augmentation in self.augmentations:
            sample = augmentation(sample, rng)
        return sample
