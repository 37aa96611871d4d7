"""Processes that train one model together, each on a device of its own, with one BatchNorm over the whole batch.

The process that asked for the training is the first of them, so that artifacts, logs and signals stay where they are.
Lightning's launchers do not keep that: `ddp` starts the program's command line again, which in a sweep is the whole
sweep, and `ddp_spawn` trains in children alone, whose curve, pictures and signals this process would not have.
"""

import ctypes
import multiprocessing
import os
import pickle
import random
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from jaxtyping import Float
from pytorch_lightning.plugins.environments import LightningEnvironment
from torch import Tensor, distributed, nn

from rwtl.errors import InputError
from rwtl.models.encoder import batch_norms
from rwtl.processes import helper_context

HOST = "127.0.0.1"  # all processes are on one node
END = 10.0  # s that a process has to end when the first has
LAST_WORDS = 2.0  # s in which the end of a process is seen that the first has noticed as a broken connection
_PR_SET_PDEATHSIG = 1


class ProcessFailed(RuntimeError):
    """Another of the processes that train together failed, or was killed."""


@dataclass(frozen=True)
class Rank:
    """Which of the processes this is.

    Args:
        number: 0 is the process that asked for the training.
        count: of processes.
        port: of this machine, where they meet.
    """

    number: int = 0
    count: int = 1
    port: int = 0

    def environment(self) -> LightningEnvironment:
        """Return what Lightning reads in place of SLURM's variables, which describe the job."""
        return _Environment(self) if self.count > 1 else LightningEnvironment()


class _Environment(LightningEnvironment):
    """One machine, whose processes exist already; nothing of it is read from variables of the environment."""

    creates_processes_externally = True
    main_address = HOST

    def __init__(self, rank: Rank):
        super().__init__()
        self._main_port = rank.port
        self._local_rank = rank.number

    def local_rank(self) -> int:
        return self._local_rank

    def node_rank(self) -> int:
        return 0


@contextmanager
def together(count: int, train: Callable[..., None], *arguments: Any) -> Iterator[Rank]:
    """Start the other processes, each of which calls `train` with its rank and a copy of the arguments.

    Within the context this process trains as rank 0. Whatever ends it ends the others; when another ends early, so does
    this one.

    Raises:
        InputError: Another process raised it.
        ProcessFailed: Another process failed otherwise, or was killed.
    """
    if count == 1:
        yield Rank()
        return
    port = _free_port()
    # Pickled here: multiprocessing would let all processes share the memory of the weights, which each of them trains.
    copied = pickle.dumps((train, arguments))
    context = helper_context()
    others: list[tuple[BaseProcess, Connection]] = []
    try:
        for number in range(1, count):
            words, end = context.Pipe(duplex=False)
            process = context.Process(target=_other, args=(Rank(number, count, port), copied, end))
            process.start()
            end.close()
            others.append((process, words))
        for _, words in others:
            if isinstance(said := words.recv(), Exception):  # or EOFError: the process is dead
                raise said
        yield Rank(0, count, port)
        for process, _ in others:
            process.join(END)
    except (InputError, ProcessFailed):
        raise
    except Exception as error:  # of this process, or what it saw of the end of another
        _raise_what_ended_another(others, error)
        raise
    finally:
        for process, _ in others:
            process.kill()
            process.join()
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _raise_what_ended_another(others: list[tuple[BaseProcess, Connection]], cause: Exception) -> None:
    ended = multiprocessing.connection.wait([process.sentinel for process, _ in others], LAST_WORDS)
    for number, (process, words) in enumerate(others, start=1):
        if process.sentinel in ended:
            process.join(LAST_WORDS)  # a dying process lets go of its files a moment before its end is known
        with suppress(EOFError):
            while words.poll():
                if isinstance(said := words.recv(), Exception):
                    raise said from cause
        if process.exitcode:
            how = f"signal {-process.exitcode}" if process.exitcode < 0 else f"exit code {process.exitcode}"
            raise ProcessFailed(
                f"process {number} of the training ({process.pid}) ended with {how}: killed, or out of memory"
            ) from cause


def _other(rank: Rank, copied: bytes, words: Connection) -> None:
    """Train in another process than the first. It says its rank when it begins, and the error that ends it, if any."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # it outlives the first process in no case
    try:
        train, arguments = pickle.loads(copied)
        words.send(rank)
        train(rank, *arguments)
    except InputError as error:
        words.send(InputError(str(error)))
        os._exit(1)  # at once, which is how the others notice
    except BaseException as error:
        words.send(ProcessFailed(f"process {rank.number} of the training failed: {type(error).__name__}: {error}"))
        os._exit(1)


def mean_over_processes(value: torch.Tensor) -> torch.Tensor:
    """Return the mean of a value over the processes that train together, without a gradient; with one, the value.

    DDP averages gradients. A loss that divides by a count, such as that of valid pixels, is that of the whole batch
    only where it divides by the mean of the processes' counts.
    """
    total = value.detach()
    if not distributed.is_initialized():
        return total
    total = total.clone()
    distributed.all_reduce(total)
    return total / distributed.get_world_size()


def _free_port() -> int:
    """Return one below those that Linux gives to connections, any of which might take it before it is used."""
    for port in random.SystemRandom().sample(range(20000, 30000), 1000):
        with socket.socket() as tried, suppress(OSError):
            tried.bind((HOST, port))
            return port
    raise InputError("no port from 20000 to 30000 is free, where the processes of trainer=ddp could meet")


class _Mean(torch.autograd.Function):
    """Mean over all processes, of values and, on the way back, of the gradients."""

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        return mean_over_processes(values)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return mean_over_processes(gradient)


class SharedBatchNorm2d(nn.BatchNorm2d):
    """In training, BatchNorm with mean and variance over the batches of all processes, which are of equal size.

    PyTorch's SyncBatchNorm has no CPU kernels (2.13: no `batch_norm_stats`), so two processes on CPUs cannot test it.
    """

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        if not self.training or not distributed.is_initialized():
            return super().forward(input)
        features = input.float()
        mean = _Mean.apply(features.mean(dim=(0, 2, 3)))
        centred = features - mean[:, None, None]
        variance = _Mean.apply(centred.square().mean(dim=(0, 2, 3)))
        with torch.no_grad():
            count = distributed.get_world_size() * input.numel() // input.shape[1]
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        scaled = centred * torch.rsqrt(variance + self.eps)[:, None, None]
        if self.affine:
            scaled = scaled * self.weight[:, None, None] + self.bias[:, None, None]
        return scaled.to(input.dtype)


def share_batchnorm(model: nn.Module) -> None:
    """Let all BatchNorm layers of a model take the batches of all processes for one; names and weights stay."""
    for layer in batch_norms(model).values():
        layer.__class__ = SharedBatchNorm2d
