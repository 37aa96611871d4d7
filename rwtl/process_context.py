"""How further processes are started, and which signals they heed."""

import multiprocessing
import os
import signal
import threading
from multiprocessing import resource_tracker
from multiprocessing.context import BaseContext, SpawnContext, SpawnProcess

# What reaches all processes of a job at once: Ctrl-C, and a cluster's warnings.
OF_A_JOB = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


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
