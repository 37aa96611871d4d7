"""What SLURM says of jobs, by its own commands."""

import re
import subprocess
from collections.abc import Collection

from rwtl.errors import InputError
from rwtl.sweeps.executors import Ended

WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "CONFIGURING", "SUSPENDED", "STOPPED")
INTERRUPTED = ("CANCELLED", "PREEMPTED")
GOING = ("COMPLETED", "RUNNING", "PENDING", "REQUEUED", "COMPLETING")  # say nothing of an end, or not yet


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


def queued() -> dict[str, str]:
    """Return why each of the user's jobs waits that have not ended, such as Resources: an empty text for one that runs.

    They are named by their id: 17, or 17_3 of an array.

    Raises InputError where the controller does not answer.
    """
    lines = command("squeue", "--me", "--noheader", "--array", "--format=%i|%T|%r").splitlines()
    rows = (line.split("|") for line in lines)
    alive = ((job, state, reason) for job, state, reason in rows if state not in ("COMPLETED", "CANCELLED"))
    return {job: reason if state in WAITING else "" for job, state, reason in alive}


def ended(jobs: Collection[str]) -> dict[str, Ended]:
    """Return how jobs ended that are no longer queued, as far as the accounting knows.

    Their state is `interrupted` or `died`, and empty where the accounting does not tell, or not yet.
    """
    arguments = ["--allocations", "--noheader", "--parsable2", "--format=JobID,State,ExitCode,NodeList"]
    try:
        if re.search(r"AccountingStorageType\s*=\s*\S*none", command("scontrol", "show", "config")):
            raise InputError("the cluster keeps no accounts")  # as many small ones
        lines = command("sacct", *arguments, f"--jobs={','.join(jobs)}").splitlines()
    except InputError as error:
        return {job: Ended(detail=f"SLURM cannot say how: {error}") for job in jobs}
    found = {}
    for job, said, code, nodes in (line.split("|") for line in lines):
        if job in jobs:
            state = said.split()[0]  # of CANCELLED by 1000
            what = state.lower() if state in INTERRUPTED else f"ended as {state}"
            where = "" if nodes in ("", "None assigned") else f" on {nodes}"
            became = "interrupted" if state in INTERRUPTED else "" if state in GOING else "died"
            found[job] = Ended(became, f"SLURM job {job} was {what}{where} (exit code {code})")
    return found


def cancel(jobs: Collection[str]) -> None:
    """Cancel jobs; those that have ended meanwhile are no error."""
    subprocess.run(["scancel", "--quiet", *jobs], stdin=subprocess.DEVNULL, capture_output=True)
