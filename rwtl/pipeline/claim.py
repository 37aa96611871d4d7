"""Claims: which of many processes, on any host that shares a file system, makes what a folder is for.

File locks are not to be relied on there. A claim is a numbered file that can be created only once, which every network
file system decides at its server: whoever creates number n + 1 holds the folder, once the holder of n has given it back
or is dead. Dead is a process that its own machine no longer has, an earlier run of the same SLURM job, or one on
another machine that gave no sign of life for LEASE seconds. Signs of life are watched with the clock of the one who
waits, so clocks of different hosts are never compared.
"""

import _thread
import json
import os
import platform
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rwtl.errors import InputError

HEARTBEAT = 5.0  # s between signs of life
LEASE = 60.0  # s without one, after which a process on another machine is taken for dead
POLL = 0.5  # s between looks at a live claim
SKEW = 30.0  # s by which clocks may differ before a waiting process says so
_RELEASED = "released"


@dataclass(frozen=True)
class Holder:
    """A process that makes, or made, what is claimed.

    Args:
        host: name of its machine, for people.
        machine: identifies the boot of the machine and the process's namespace: where both agree, pid says who it is.
        pid, born: the process, and its start in clock ticks since the boot, for process ids are used again.
        job: its SLURM job, or "".
        restarts: how often SLURM had run that job before.
    """

    host: str
    machine: str
    pid: int
    born: int
    job: str
    restarts: int

    def __str__(self) -> str:
        job = f", SLURM job {self.job}" if self.job else ""
        return f"process {self.pid} on {self.host}{job}"

    def dead(self) -> bool | None:
        """Return whether the process has ended, as far as can be told from here; None where only time will tell."""
        here = this_process()
        if self.machine == here.machine:
            return _born(self.pid) != self.born
        earlier = self.job and self.job == here.job and self.restarts < here.restarts
        return True if earlier else None  # SLURM runs a job again only after its end


def this_process() -> Holder:
    restarts = int(os.environ.get("SLURM_RESTART_COUNT", 0))
    return Holder(platform.node(), _machine(), os.getpid(), _born(os.getpid()) or 0, _slurm_job(), restarts)


def _machine() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + " " + os.readlink("/proc/self/ns/pid")


def _slurm_job() -> str:
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


def _born(pid: int) -> int | None:
    """Return when a process was started, in clock ticks since the boot; None where there is none, or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


class Claim:
    """A claim that this process holds; a thread of its own gives signs of life until it is released or finished.

    Where another process has taken over nonetheless, because this one was stopped for longer than LEASE, the main
    thread is interrupted (KeyboardInterrupt) and `lost` is true.
    """

    def __init__(self, file: Path):
        self._file = file
        self._next = _file(file.parent, int(file.name) + 1)
        self._ended = threading.Event()
        self.lost = False
        self._thread = threading.Thread(target=self._give_signs, daemon=True)
        self._thread.start()

    def _give_signs(self) -> None:
        while not self._ended.wait(HEARTBEAT):
            with suppress(OSError):  # a file server that is away for a moment
                os.utime(self._file)
            if self._next.exists():
                self.lost = True
                _thread.interrupt_main()
                return

    def release(self) -> None:
        """Give the folder back, unfinished; the next one may claim it at once."""
        self._end()
        with suppress(OSError):  # on a full disk the others wait for LEASE, or see that this process has ended
            self._file.write_text(json.dumps({_RELEASED: True}))

    def finish(self, conclude: Callable[[], None]) -> None:
        """Call `conclude`, which says for good that all is made, and clear the claims away.

        Where it raises, the claim is still to be released.

        Raises:
            InputError: Another process has taken over.
        """
        self._end()
        if _create(self._next) is None:
            raise InputError(self.lost_message())
        self._file = self._next  # from here on nobody can take over
        conclude()
        shutil.rmtree(self._file.parent, ignore_errors=True)

    def lost_message(self) -> str:
        return (
            f"{self._file.parent.parent} was taken over by another job, since this one ({this_process()}) gave no sign "
            f"of life for {LEASE:g} s: was it stopped, or the file server away? The other job goes on"
        )

    def _end(self) -> None:
        self._ended.set()
        self._thread.join()


def claim(folder: Path, done: Callable[[], bool], waiting: Callable[[Holder | None, float], None]) -> Claim | None:
    """Claim a folder, waiting for a live holder; None where `done` says that there is nothing left to make.

    Args:
        folder: of the claims alone; made where missing, with its parents.
        done: whether all is made. Once true it stays so.
        waiting: is called, now and then while another process holds the folder, with that process (None while it is
            just writing its name) and the seconds since its last sign of life.

    Raises OSError where the folder cannot be written.
    """
    seen: tuple[str, float] | None = None  # name and last sign of life of the newest claim
    since = time.monotonic()
    while not done():
        folder.mkdir(parents=True, exist_ok=True)
        newest = _newest(folder)
        if newest is not None:
            try:
                sign = (newest.name, newest.stat().st_mtime)
                content = _read(newest)
            except FileNotFoundError:  # finished just now
                continue
            if sign != seen:
                seen, since = sign, time.monotonic()
            silence = time.monotonic() - since
            if not content.get(_RELEASED):
                holder = _holder(content)
                dead = holder.dead() if holder else None
                if dead is None:
                    dead = silence > LEASE
                if not dead:
                    waiting(holder, silence)
                    time.sleep(POLL)
                    continue
        mine = _create(_file(folder, int(newest.name) + 1 if newest else 1))
        if mine is None:  # somebody else was faster
            continue
        made = Claim(mine)
        if done():
            made.release()
            shutil.rmtree(folder, ignore_errors=True)
            return None
        return made
    return None


def holder_of(folder: Path) -> tuple[Holder, bool | None, float] | None:
    """Return who claims a folder, whether that process is dead (None where only time will tell), and the seconds since
    its last sign of life by this host's clock; None where nobody does."""
    with suppress(OSError):
        newest = _newest(folder)
        if newest is not None:
            content = _read(newest)
            holder = None if content.get(_RELEASED) else _holder(content)
            if holder is not None:
                return holder, holder.dead(), time.time() - newest.stat().st_mtime
    return None


def clock_difference(folder: Path) -> float:
    """Return by how many seconds the newest sign of life is ahead of this host's clock."""
    newest = _newest(folder)
    return newest.stat().st_mtime - time.time() if newest else 0.0


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}"


def _newest(folder: Path) -> Path | None:
    try:
        return max((file for file in folder.iterdir() if file.name.isdigit()), default=None)
    except FileNotFoundError:
        return None


def _create(file: Path) -> Path | None:
    """Create a claim's file for this process; None where it exists, or its folder does not."""
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except (FileExistsError, FileNotFoundError):
        return None
    with os.fdopen(descriptor, "w") as opened:
        json.dump(asdict(this_process()), opened)
    return file


def _read(file: Path) -> dict[str, Any]:
    """Return a claim's content; empty while it is being written, or where a full disk left it so."""
    try:
        content = json.loads(file.read_text())
    except json.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}


def _holder(content: dict[str, Any]) -> Holder | None:
    try:
        return Holder(**content)
    except TypeError:
        return None
