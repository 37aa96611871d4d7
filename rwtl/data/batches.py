"""Which samples of a stream make the batch of which step: the same on one process or several, interrupted or not."""

from collections.abc import Iterator

from torch.utils.data import Sampler

from rwtl.errors import InputError


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
        self.process, self.share = process, batch_size // processes

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first_step, self.steps):
            first = step * self.batch_size + self.process * self.share
            yield list(range(first, first + self.share))
