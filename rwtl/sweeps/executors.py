"""Where artifacts are made: in this process, in several processes, or on a cluster (`rwtl.sweeps.slurm`)."""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe, active_children
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from rwtl.errors import InputError
from rwtl.pipeline.artifact import Artifact, build
from rwtl.pipeline.stages import artifact_of
from rwtl.processes import end_with_parent, helper_context, reason_of, terminable
from rwtl.progress import is_silent, say, silence
from rwtl.sections import Processes, section
from rwtl.terminal import lasting

POLL = 1.0  # s between looks at the processes


@dataclass(frozen=True)
class Ended:
    """What an executor says of an artifact that it no longer works on; what became of it says the artifact's status.

    Args:
        state: `failed`, `interrupted` or `died`, where it is not complete and its status does not say more.
        detail: why, in the executor's words.
        reused: whether somebody else had made it meanwhile.
        log: the file that its output went to; empty where that was the terminal.
    """

    state: str = ""
    detail: str = ""
    reused: bool = False
    log: str = ""


class Executor:
    """Makes artifacts, whose parents are complete, or, where `ahead`, are being made by it."""

    ahead = False

    def free(self) -> int:
        """Return how many artifacts it can begin now."""
        raise NotImplementedError

    def start(self, artifacts: Sequence[Artifact]) -> None:
        """Begin to make artifacts, at most as many as `free` says, parents first.

        Raises InputError where it can make none at all.
        """
        raise NotImplementedError

    def ended(self) -> dict[Path, Ended]:
        """Wait a while for artifacts to end, and return those that have, by folder."""
        raise NotImplementedError

    def waits(self, artifact: Artifact) -> str:
        """Return why one that it has been handed does not run yet; an empty text where it does."""
        return ""

    def drop(self, artifact: Artifact) -> None:
        """Forget an artifact that cannot be made, because what it needs was not."""

    def leave(self, interrupt: KeyboardInterrupt) -> bool:
        """End what runs, because the user has asked for it, and return whether it goes on nonetheless."""
        return False

    def close(self) -> None:
        """Let go of what it holds; nothing runs any more."""


def make(artifact: Artifact) -> Ended:
    """Make an artifact, whose parents are there; print a traceback where it fails for a reason that nobody expected.

    KeyboardInterrupt is passed on.
    """
    try:
        return Ended(reused=bool(build(artifact).reused))
    except Exception as error:
        return _failed(error)


def _failed(error: Exception) -> Ended:
    if isinstance(error, InputError):
        return Ended("failed", str(error))
    traceback.print_exc()
    return Ended("failed", "".join(traceback.format_exception_only(error)).strip())


def sent(artifact: Artifact) -> tuple[str, dict[str, Any], str]:
    """Return what travels of an artifact to another process: its kind, configuration and digest."""
    return artifact.kind, OmegaConf.to_container(artifact.config, resolve=False), artifact.digest


class Inline(Executor):
    """Makes one artifact after the other in this process."""

    def __init__(self) -> None:
        self._ended: dict[Path, Ended] = {}

    def free(self) -> int:
        return 1

    def start(self, artifacts: Sequence[Artifact]) -> None:
        self._ended |= {artifact.path: make(artifact) for artifact in artifacts}

    def ended(self) -> dict[Path, Ended]:
        found, self._ended = self._ended, {}
        return found


@section("executor")
class ProcessesConfig:
    """Several artifacts side by side on this machine.

    Args:
        jobs: processes; they share `trainer.threads` and `engine.threads`. Small models train faster side by side than
            with many threads each.
    """

    jobs: Processes


class Processes(Executor):
    """Makes artifacts in processes that live until it is closed, for each needs seconds to start.

    One that dies ends what it was making, and nothing else.
    """

    def __init__(self, config: ProcessesConfig):
        """Raises InputError where the program that runs cannot be imported again, as a new process does."""
        file = getattr(sys.modules["__main__"], "__file__", None)
        if file is not None and not Path(file).exists():
            raise InputError(
                f"the program is read from {file}, which other processes cannot import; put it into a file, below "
                "if __name__ == '__main__':, or use executor=inline"
            )
        self._jobs = config.jobs
        self._idle: list[ProcessPoolExecutor] = []
        self._busy: dict[Future, tuple[Artifact, ProcessPoolExecutor]] = {}

    def free(self) -> int:
        return self._jobs - len(self._busy)

    def start(self, artifacts: Sequence[Artifact]) -> None:
        share = min(self._jobs, len(self._busy) + len(artifacts))
        for artifact in artifacts:
            pool = self._idle.pop() if self._idle else _worker()
            self._busy[pool.submit(_make, *sent(artifact), share)] = (artifact, pool)

    def ended(self) -> dict[Path, Ended]:
        done, _ = wait(self._busy, POLL, FIRST_COMPLETED)
        found = {}
        for future in done:
            artifact, pool = self._busy.pop(future)
            try:
                found[artifact.path] = future.result()
                self._idle.append(pool)
            except BrokenProcessPool:
                said = "its process ended without an error message (killed, or out of memory?)"
                found[artifact.path] = Ended("died", said)
        return found

    def leave(self, interrupt: KeyboardInterrupt) -> bool:
        """Ask all to stop; another Ctrl-C asks again, which ends them at once."""
        while self._busy:
            for process in active_children():
                process.terminate()
            with suppress(KeyboardInterrupt):
                wait(self._busy)
                break
        return False

    def close(self) -> None:
        for pool in [*self._idle, *(pool for _, pool in self._busy.values())]:
            pool.shutdown(cancel_futures=True)


def _worker() -> ProcessPoolExecutor:
    """A process of its own for one artifact after the other, whose output is printed here line by line."""
    reading, writing = Pipe(duplex=False)
    pool = ProcessPoolExecutor(1, helper_context(), _begin, (writing, is_silent()))
    pool.submit(os.getpid)  # which starts it; from then on it has its end of the pipe
    writing.close()
    threading.Thread(target=_print_lines, args=(reading,), daemon=True).start()
    return pool


def _print_lines(reading: Connection) -> None:
    with os.fdopen(os.dup(reading.fileno()), errors="replace") as lines:
        reading.close()
        for line in lines:
            say(line.rstrip("\n"))


def _begin(writing: Connection, quiet: bool) -> None:
    silence(quiet)
    for stream in (1, 2):
        os.dup2(writing.fileno(), stream)
    writing.close()
    lasting()
    os.setsid()  # signals to all processes of a terminal are for the parent, which asks those that work to stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
    end_with_parent()


def _make(kind: str, config: dict[str, Any], digest: str, share: int) -> Ended:
    """Make the artifact of a configuration in this process, one of `share` that work at the same time."""
    cfg = OmegaConf.create(config)
    for key in ("trainer.threads", "engine.threads"):
        if isinstance(threads := OmegaConf.select(cfg, key), int):
            OmegaConf.update(cfg, key, max(1, threads // share))
    try:
        with terminable():
            return make(artifact_of(kind, cfg, digest))
    except KeyboardInterrupt as interrupt:
        return Ended("interrupted", reason_of(interrupt))
    except Exception as error:  # while it was planned
        return _failed(error)
