"""Which sample is drawn at which step: a reproducible stream of shuffled, augmented samples, and its batches."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int32
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, Sampler, default_collate

from rwtl.errors import InputError
from rwtl.random import AUGMENTATION, ORDER, SUBSET, counter_rng


@lru_cache(maxsize=2)  # of each process, for the epoch that ends and the one that begins
def _order(size: int, seed: int, epoch: int) -> np.ndarray:
    # 4 bytes an entry: mixtures have a million of them, and every worker process has its own copy.
    return counter_rng(seed, epoch, 0, ORDER).permutation(np.arange(size, dtype=np.int32))


def first_of_fixed_order(count: int, size: int, seed: int) -> Int32[np.ndarray, " count"]:
    """Return the first `count` indices of one shuffling of 0..`size`-1: a smaller count's are a larger one's first.

    The shuffling is a function of the size and the seed alone. So data sets of one size that show the same scenes, as
    Sintel's clean and final pass do, give the same scenes.
    """
    return counter_rng(seed, 0, 0, SUBSET).permutation(np.arange(size, dtype=np.int32))[:count]


@dataclass(frozen=True, eq=False)
class Part:
    """One data set of a mixture, with what is done to its samples.

    Args:
        dataset: a map-style data set.
        augmentations: functions of (sample, generator) to a sample, applied in turn.
        repeats: how many times an epoch holds every sample, at least 1.
        indices: of the samples that take part; None for all of them.
        name: by which errors call the data set; empty for that of its class.

    Raises:
        InputError: No sample takes part, or `repeats` is below 1.
    """

    dataset: Dataset
    augmentations: Sequence[Callable[[Any, np.random.Generator], Any]] = ()
    repeats: int = 1
    indices: Int32[np.ndarray, " samples"] | None = None
    name: str = ""

    def __post_init__(self):
        name = self.called
        if self.samples == 0:
            raise InputError(f"{name} holds no sample to train on; check its folder and its split")
        if self.repeats < 1:
            raise InputError(f"repeats of {name} is {self.repeats}; it must be at least 1 (or leave the data set out)")

    @property
    def called(self) -> str:
        """The name, or else that of the data set's class."""
        return self.name or type(self.dataset).__name__

    @property
    def samples(self) -> int:
        """How many samples take part, without repeats."""
        return len(self.dataset if self.indices is None else self.indices)

    def __len__(self) -> int:
        return self.repeats * self.samples

    def index(self, number: int) -> int:
        """Return the data set's index of the sample that has this number among the part's, repeats included."""
        number %= self.samples
        return number if self.indices is None else int(self.indices[number])


class SampleStream(Dataset):
    """Sample k of a training run, for any k: an epoch holds every sample of every part, with its repeats, in new order.

    An epoch's samples are numbered part by part and repeat by repeat. The order is a function of (seed, epoch), the
    augmentation of (seed, epoch, number). Neither depends on workers, on interruptions or on the model that is trained,
    so conditions of one seed see the same samples, and no repeat or epoch is augmented like another.

    Args:
        parts: data sets, shuffled together.
        seed: decides order and augmentation.
        samples: length of the stream.

    Raises:
        InputError: There is no part.
    """

    def __init__(self, parts: Sequence[Part], seed: int, samples: int):
        if not parts:
            raise InputError("the training has no data set; name at least one")
        self.parts = list(parts)
        self.seed = seed
        self.samples = samples
        self._ends = list(accumulate(len(part) for part in self.parts))

    def __len__(self) -> int:
        return self.samples

    def _number(self, k: int) -> tuple[int, int]:
        """Return the epoch of sample k, and its number in that epoch."""
        if not 0 <= k < self.samples:
            raise IndexError(k)
        epoch, position = divmod(k, self._ends[-1])
        return epoch, int(_order(self._ends[-1], self.seed, epoch)[position])

    def part_of(self, k: int) -> int:
        """Return the number of the part that sample k is of."""
        return bisect_right(self._ends, self._number(k)[1])

    def __getitem__(self, k: int) -> Any:
        epoch, number = self._number(k)
        part_number = bisect_right(self._ends, number)
        part = self.parts[part_number]
        first = self._ends[part_number] - len(part)
        sample = part.dataset[part.index(number - first)]
        rng = counter_rng(self.seed, epoch, number, AUGMENTATION)
        for augmentation in part.augmentations:
            sample = augmentation(sample, rng)
        return sample


@runtime_checkable
class RendersBatches(Protocol):
    """A data set whose samples are made and not read, many at once and where they are needed."""

    def batch(self, indices: Sequence[int], device: torch.device) -> Any:
        """Return the samples of these indices as one batch."""
        ...


class BatchesOnDevice(IterableDataset):
    """The batches of a stream of procedural scenes, each rendered at once on the device where it is needed.

    The samples are those of the stream, up to rounding.

    Args:
        stream: of one part, whose data set is one of RendersBatches, without augmentations.
        batch_size: samples in a batch.
        device: where they are rendered.
        first_step: the batch to begin with, 0 or more.
        process, processes: this process, of so many that take equal shares of every batch.

    Raises:
        InputError: The stream is another.
    """

    def __init__(
        self,
        stream: SampleStream,
        batch_size: int,
        device: torch.device,
        first_step: int = 0,
        process: int = 0,
        processes: int = 1,
    ):
        require_scenes(stream.parts)
        self.stream = stream
        self.batch_size = batch_size
        self.device = device
        self.first_step = first_step
        self.process, self.processes = process, processes

    def __iter__(self) -> Iterator[Any]:
        part = self.stream.parts[0]
        for step in range(self.first_step, -(-len(self.stream) // self.batch_size)):
            samples = samples_of(step, self.batch_size, self.process, self.processes)
            samples = [k for k in samples if k < len(self.stream)]
            indices = [part.index(self.stream._number(k)[1]) for k in samples]
            yield part.dataset.batch(indices, self.device)


def require_scenes(parts: Sequence[Part]) -> None:
    """Raise an InputError where parts are anything but one data set that renders batches, without augmentation."""
    part, *others = parts
    if others or part.augmentations or not isinstance(part.dataset, RendersBatches):
        names = ", ".join(type(part.dataset).__name__ for part in parts)
        raise InputError(
            "trainer.scenes_on_device renders procedural scenes alone, without augmentation; this training has "
            f"{names}: set it to false"
        )


class StepBatches(Sampler[list[int]]):
    """The numbers of the samples of every step's batch: step s holds samples s·B to (s + 1)·B - 1 of B a batch.

    Of several processes each takes an equal, contiguous share of every batch. The length is that of the whole training,
    wherever it begins.

    Args:
        steps: of the training.
        batch_size: B, samples of all processes in a step.
        first_step: where the training goes on, 0 at its beginning.
        process, processes: this process, of so many.

    Raises:
        InputError: The processes cannot share a batch equally.
    """

    def __init__(self, steps: int, batch_size: int, first_step: int = 0, process: int = 0, processes: int = 1):
        if batch_size % processes:
            raise InputError(
                f"a batch of {batch_size} samples cannot be shared equally by {processes} processes; change batch_size "
                "or trainer.devices"
            )
        self.steps, self.batch_size, self.first_step = steps, batch_size, first_step
        self.process, self.processes = process, processes

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first_step, self.steps):
            yield list(samples_of(step, self.batch_size, self.process, self.processes))


def samples_of(step: int, batch_size: int, process: int = 0, processes: int = 1) -> range:
    """Return the numbers of the samples of a process's share of a step's batch."""
    share = batch_size // processes
    first = step * batch_size + process * share
    return range(first, first + share)


def stacked(samples: list) -> Any:
    """Stack samples to a batch; samples of different size are an InputError.

    It stands here, and not with the training, because every process that prepares samples imports its module.
    """
    first, *others = [sample if isinstance(sample, Tensor) else sample[0] for sample in samples]
    for other in others:
        if other.shape != first.shape:
            sizes = " and ".join("×".join(map(str, one.shape[-2:])) for one in (first, other))
            raise InputError(
                f"a batch cannot hold samples of {sizes} px: give flow_data.training.<data set>.augmentation a crop "
                "(height, width), or set training.batch_size=1"
            )
    return default_collate(samples)
