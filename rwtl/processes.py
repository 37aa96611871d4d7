"""Further processes: how they are started, which signals they heed, and how a user or a system ends them."""

import atexit
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import cache
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext, SpawnContext, SpawnProcess
from typing import Any

# What reaches all processes of a job at once: Ctrl-C, and a cluster's warnings.
OF_A_JOB = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


@cache
def end_fast() -> None:
    """Let this process end without a last search for garbage in all that libraries hold, which takes a second."""
    atexit.register(gc.freeze)


if multiprocessing.parent_process() is not None:
    end_fast()


def process_context() -> BaseContext:
    """Return multiprocessing's context `spawn`, of use in the jobs of every launcher.

    Nothing is forked: a fork of a process that has used the threads of torch, W&B or Zarr can hang. Nor by
    a fork server: it and PyTorch's workers would keep each other alive when their parent is killed. Within a worker of
    joblib the default start method is joblib's own, which new processes are told of, and do not know.
    """
    if multiprocessing.get_start_method() not in multiprocessing.get_all_start_methods():
        multiprocessing.set_start_method("spawn", force=True)
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


def run_side_by_side(function: Callable, tasks: dict[str, tuple], jobs: int) -> Iterable[tuple[str, Any]]:
    """Call `function` with the arguments of every task, `jobs` at a time; yield (task's name, result or exception).

    Results come in the order in which they are finished. A task that fails does not stop the others; an interruption
    stops them all. What runs alone runs in this process, without the seconds that another needs to start.
    """
    if jobs == 1 or len(tasks) == 1:
        for name, arguments in tasks.items():
            try:
                result = function(*arguments)
            except Exception as error:
                result = error
            yield name, result
        return
    pool = ProcessPoolExecutor(jobs, mp_context=process_context(), initializer=_end_with_parent)
    try:
        names = {pool.submit(function, *arguments): name for name, arguments in tasks.items()}
        for future in as_completed(names):
            yield names[future], future.exception() or future.result()
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """End this process when its parent does, however that ends: nobody would take its result."""

    def watch() -> None:
        wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
