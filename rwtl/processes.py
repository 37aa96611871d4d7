"""Further processes: how they are started, which signals they heed, and how a user or a system ends them."""

import atexit
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext, SpawnContext, SpawnProcess

# What reaches all processes of a job at once: Ctrl-C, and a cluster's warnings.
OF_A_JOB = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


@cache
def end_fast() -> None:
    """Let this process end without a last search for garbage in all that libraries hold, which takes a second."""
    atexit.register(gc.freeze)


if multiprocessing.parent_process() is not None:
    end_fast()


def process_context() -> BaseContext:
    """Return multiprocessing's context `spawn`.

    Nothing is forked: a fork of a process that has used the threads of torch, W&B or Zarr can hang. Nor by
    a fork server: it and PyTorch's workers would keep each other alive when their parent is killed.
    """
    return multiprocessing.get_context("spawn")


def helper_context() -> BaseContext:
    """Return a context like `process_context`, for processes in whose place their parent heeds a job's signals.

    The signals are blocked from the start, for a process needs seconds until it could ignore them.
    """
    process_context()
    return _HelperContext()


class _Helper(SpawnProcess):
    def start(self) -> None:
        resource_tracker.ensure_running()  # whose start would unblock them
        before = signal.pthread_sigmask(signal.SIG_BLOCK, OF_A_JOB)
        try:
            super().start()  # which inherits them as blocked
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _HelperContext(SpawnContext):
    Process = _Helper


def end_when_the_parent_asks(_worker: int) -> None:
    """Let a helper end at a SIGTERM of its parent: `terminate`, by which PyTorch and Python end workers."""

    def listen() -> None:
        while True:
            said = signal.sigwaitinfo(OF_A_JOB)
            if said.si_signo == signal.SIGTERM and said.si_pid == os.getppid():
                os._exit(0)

    threading.Thread(target=listen, daemon=True).start()


@contextmanager
def terminable() -> Iterator[None]:
    """Within it SIGTERM is as Ctrl-C, unless somebody handles it already: submitit does, on a cluster."""
    in_main = threading.current_thread() is threading.main_thread()  # only there may handlers be set
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt("SIGTERM")

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def reason_of(interrupt: KeyboardInterrupt) -> str:
    """Return `SIGTERM` or `Ctrl-C`."""
    return str(interrupt) or "Ctrl-C"


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """Return what a shell expects of a program that ends so."""
    return 143 if str(interrupt) else 130


def end_with_parent() -> None:
    """End this process when its parent does, however that ends: nobody would take its result."""

    def watch() -> None:
        wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
