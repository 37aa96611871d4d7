"""Claims: which of many processes, on any host that shares a file system, makes what a folder is for.

File locks are not to be relied on there. A claim is a numbered file that can be created only once, which every network
file system decides at its server: whoever creates number n + 1 holds the folder, once the holder of n has given it back
or is dead. Dead is a process that its own machine no longer has, an earlier run of the same SLURM job, or one on
another machine that gave no sign of life for LEASE seconds. Signs of life are watched with the clock of the one who
waits, so clocks of different hosts are never compared.

A holder that was stopped for longer than LEASE may wake after its successor, and must then change nothing: see
`Claim.lost`, and how `rwtl.pipeline.artifact` takes the folder of an attempt away from it.
"""

import json
import os
import platform
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from rwtl import files
from rwtl.errors import InputError
from rwtl.progress import say

CLAIMS = "claims"
HEARTBEAT = 5.0  # s between signs of life
LEASE = 60.0  # s without one, after which a process on another machine is taken for dead
POLL = 0.5  # s between looks at a live claim
SKEW = 30.0  # s by which clocks may differ before a waiting process says so
REMIND = 60.0  # s between messages of a waiting process


class TakenOver(InputError):
    """What a process was making was taken over by another one, for this one gave no sign of life for LEASE."""


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
    pid: Annotated[int, Field(gt=0)]
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
            return _ended(self.pid, self.born)
        earlier = self.job and self.job == here.job and self.restarts < here.restarts
        return True if earlier else None  # SLURM runs a job again only after its end


@dataclass(frozen=True)
class _Released:
    """What a claim's file holds when its holder has given it back."""

    released: Literal[True]


def this_process() -> Holder:
    restarts = int(os.environ.get("SLURM_RESTART_COUNT", 0))
    return Holder(platform.node(), _machine(), os.getpid(), _stat(os.getpid()) or 0, _slurm_job(), restarts)


def _machine() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + " " + os.readlink("/proc/self/ns/pid")


def _slurm_job() -> str:
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


def _ended(pid: int, born: int) -> bool | None:
    """Return whether a process of this machine has ended; None where another user's is hidden from this one."""
    try:
        return _stat(pid) != born
    except OSError:  # there is none, or /proc hides it (hidepid): that a process exists can be asked nonetheless
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            pass
        return None


def _stat(pid: int) -> int | None:
    """Return when a process was started, in clock ticks since the boot; None for a zombie."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


class Claim:
    """A claim that this process holds; a thread of its own gives signs of life until it is released or finished.

    Args:
        file: of the claim, which has just been created.

    Attributes:
        number: of the claim; it grows from one holder of a folder to the next.
        fence: a file that is there for as long as nobody has taken over, where there is such a file. With it the claim
            outlives the removal of its own file, which is then written again.
        lost: whether another process was seen to have taken over, because this one was stopped for longer than LEASE.
    """

    def __init__(self, file: Path):
        self._file = file
        self._content = file.read_text()
        self.number = int(file.name)
        self.fence: Path | None = None
        self.lost = False
        self._ended = threading.Event()
        self._looking = threading.Lock()
        self._thread = threading.Thread(target=self._give_signs, daemon=True)
        self._thread.start()

    def _give_signs(self) -> None:
        while not self._ended.wait(HEARTBEAT):
            with suppress(OSError):  # a file server that is away for a moment
                if not self._ours():
                    self.lost = True
                    return
                os.utime(self._file)

    def _ours(self) -> bool:
        """Look whether nobody has taken over, and write the claim again where somebody has removed it."""
        with self._looking:  # or one thread would read what the other has just begun to write
            if self.fence is not None and not self.fence.exists():
                return False
            newest = _newest(self._file.parent)
            if newest is not None and int(newest.name) > self.number:
                return False
            try:
                return self._file.read_text() == self._content
            except FileNotFoundError:
                if self.fence is None:
                    return False
                self._file.parent.mkdir(exist_ok=True)
                return _create(self._file) is not None

    def require(self, look: bool = True) -> None:
        """Raise TakenOver where another process has taken over, and OSError where that cannot be told.

        Args:
            look: look at the files now; otherwise only what the signs of life have seen counts.
        """
        if look and not self.lost:
            self.lost = not self._ours()
        if self.lost:
            raise TakenOver(
                f"{self._file.parent.parent} was taken over by another job, since this one ({this_process()}) gave no "
                f"sign of life for {LEASE:g} s: was it stopped, or the file server away?"
            )

    def release(self) -> None:
        """Give the folder back, unfinished; the next one may claim it at once. After a later claim this says nothing.

        A lost claim is given back too: where no other follows it, as after the removal of the fence by hand, this very
        process would wait for itself.
        """
        self._end()
        with suppress(OSError):  # on a full disk the others wait for LEASE, or see that this one has ended
            if self._file.read_text() == self._content:
                self._file.write_text(json.dumps(asdict(_Released(True))))

    def finish(self) -> None:
        """Clear the claims away, when what they were for is made; where it is lost, nothing changes."""
        self._end()
        with suppress(TakenOver, OSError):
            self.require()
            shutil.rmtree(self._file.parent, ignore_errors=True)

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
            if not isinstance(content, _Released):
                holder = content
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
        try:
            made = Claim(mine)
        except FileNotFoundError:  # somebody has finished, and cleared the claims away
            continue
        try:
            if not done():
                return made
        except BaseException:
            made.release()
            raise
        made.finish()
        return None
    return None


class Waiting:
    """Says whom a job waits for, at first and now and then.

    Args:
        label: of what waits.
        path: what the other process makes.
        claims: the folder that is claimed.
    """

    def __init__(self, label: str, path: Path, claims: Path):
        self.label, self.path, self.claims = label, path, claims
        self.since = time.monotonic()
        self.said: float | None = None
        self.skew_said = False

    def __call__(self, holder: Holder | None, silence: float) -> None:
        if holder is None:
            return
        clock = time.monotonic()
        if self.said is None:
            say(f"{self.label}: {holder} is making {self.path}; waiting for it")
            self.said = clock
        elif clock - self.said > REMIND:
            say(
                f"{self.label}: has waited {clock - self.since:.0f} s for {holder} to make {self.path}; its last sign "
                f"of life was {silence:.0f} s ago"
            )
            self.said = clock
        elif 0 < silence < 2 * POLL and not self.skew_said:
            self._say_skew(holder)

    def _say_skew(self, holder: Holder) -> None:
        difference = clock_difference(self.claims)
        if abs(difference) > SKEW:
            self.skew_said = True
            say(
                f"{self.label}: the clock of {holder.host} or of the file server is {abs(difference):.0f} s "
                f"{'ahead of' if difference > 0 else 'behind'} this host's: times of artifacts will not compare. "
                "Claims do not depend on clocks"
            )


@contextmanager
def alone(folder: Path, label: str) -> Iterator[Callable[[], None]]:
    """Let one process at a time be within it, of all that name this folder; the others wait, and say for whom.

    Yields:
        A function to call before each change of what the folder holds: it raises TakenOver where another process has
        taken over.

    Raises:
        InputError: The folder cannot be written.
    """
    with writable(folder):
        held = claim(folder / CLAIMS, lambda: False, Waiting(label, folder, folder / CLAIMS))
    try:
        yield held.require
    except BaseException:
        held.release()
        raise
    held.finish()


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Turn what the system says of a folder that cannot be written into an InputError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        place = f": {error.filename}" if error.filename else ""
        raise InputError(f"cannot write to {folder} ({reason}{place}); set paths.outputs to another folder") from error


def holder_of(folder: Path) -> tuple[Holder, bool | None, float] | None:
    """Return who claims a folder, whether that process is dead (None where only time will tell), and the seconds since
    its last sign of life by this host's clock; None where nobody does."""
    with suppress(OSError):
        newest = _newest(folder)
        if newest is not None:
            holder = _read(newest)
            if isinstance(holder, Holder):
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
        numbered = [file for file in folder.iterdir() if file.name.isascii() and file.name.isdigit()]
    except FileNotFoundError:
        return None
    return max(numbered, key=lambda file: int(file.name), default=None)


def _create(file: Path) -> Path | None:
    """Create a claim's file for this process; None where it exists, or its folder does not."""
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except (FileExistsError, FileNotFoundError):
        return None
    with os.fdopen(descriptor, "w") as opened:
        json.dump(asdict(this_process()), opened)
    return file


def _read(file: Path) -> Holder | _Released | None:
    """Return who holds a claim, or that it is released.

    None while it is being written, where a full disk left it so, and where the file is no claim: only the lease tells
    then whether its holder lives.
    """
    try:
        content = files.read_checked(file, Holder | _Released, "")
    except InputError:
        return None
    if content is None:
        raise FileNotFoundError(file)
    return content
