"""What SLURM says of jobs, by its own commands."""

import re
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

from rwtl.errors import InputError

WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "CONFIGURING", "SUSPENDED", "STOPPED")


@dataclass(frozen=True)
class Queued:
    """A job that SLURM has yet to run, runs, or runs again.

    Args:
        state: SLURM's, such as PENDING.
        reason: why it waits, such as Resources.
    """

    state: str
    reason: str

    @property
    def waits(self) -> bool:
        return self.state in WAITING


@dataclass(frozen=True)
class Ended:
    """How SLURM says that a job ended.

    Args:
        state: SLURM's, such as CANCELLED, or "" where it does not tell.
        detail: a clause for people.
    """

    state: str
    detail: str


def command(*words: str) -> str:
    """Return what a command of SLURM prints.

    Raises InputError with its own words where it fails, or is not there.
    """
    done = _called(*words)
    if done.returncode:
        raise InputError(f"{words[0]}: {' '.join(done.stderr.split()) or f'exit code {done.returncode}'}")
    return done.stdout


def _called(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except OSError as error:
        raise InputError(
            f"{words[0]} cannot be called ({error.strerror}): the executor slurm is for a machine of a SLURM cluster "
            "from which jobs are submitted; elsewhere use executor=inline or executor=processes"
        ) from error


def require_controller() -> None:
    """Raise InputError where there is no SLURM, or its controller does not answer."""
    answer = _called("scontrol", "ping")  # which has an exit code of its own where one of two controllers is down
    if " is UP" not in answer.stdout:
        said = (answer.stdout.strip() or answer.stderr.strip()).partition("\n")[0]
        raise InputError(
            f"SLURM's controller does not answer ({said}): nothing was submitted; try again when it is back, or ask "
            "the cluster's administrators"
        )


def queued() -> dict[str, Queued]:
    """Return the user's jobs that have not ended, by their id: 17, or 17_3 of an array.

    Raises InputError where the controller does not answer.
    """
    lines = command("squeue", "--me", "--noheader", "--array", "--format=%i|%T|%r").splitlines()
    rows = (line.split("|") for line in lines)
    return {job: Queued(state, reason) for job, state, reason in rows if state not in ("COMPLETED", "CANCELLED")}


def ended(jobs: Collection[str]) -> dict[str, Ended]:
    """Return how jobs ended that are no longer queued, as far as the accounting knows."""
    problem = _no_accounting()
    if problem:
        return {job: Ended("", f"SLURM cannot say how: {problem}") for job in jobs}
    arguments = ["--allocations", "--noheader", "--parsable2", "--format=JobID,State,ExitCode,NodeList"]
    try:
        lines = command("sacct", *arguments, f"--jobs={','.join(jobs)}").splitlines()
    except InputError as error:
        return {job: Ended("", f"SLURM cannot say how: {error}") for job in jobs}
    found = {}
    for job, state, code, nodes in (line.split("|") for line in lines):
        if job in jobs:
            where = "" if nodes in ("", "None assigned") else f" on {nodes}"
            found[job] = Ended(state.split()[0], f"SLURM job {job} was {_said(state)}{where} (exit code {code})")
    return found


def _said(state: str) -> str:
    """CANCELLED by 1000 as `cancelled`, OUT_OF_MEMORY as `ended by OUT_OF_MEMORY`."""
    name = state.split()[0]
    return "cancelled" if name == "CANCELLED" else "preempted" if name == "PREEMPTED" else f"ended as {name}"


@cache
def _no_accounting() -> str | None:
    """Why there is no accounting, which many small clusters lack; None where there is."""
    try:
        configured = command("scontrol", "show", "config")
        if re.search(r"AccountingStorageType\s*=\s*\S*none", configured):
            return "the cluster keeps no accounts"
        command("sacct", "--version")
    except InputError as error:
        return str(error)
    return None


def cancel(jobs: Collection[str]) -> None:
    """Cancel jobs; those that have ended meanwhile are no error."""
    for first in range(0, len(jobs), 100):
        subprocess.run(
            ["scancel", "--quiet", *list(jobs)[first : first + 100]], stdin=subprocess.DEVNULL, capture_output=True
        )
