"""What is in the outputs: every artifact, its state, age, size and parents; and the removal of artifacts."""

import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.filesize import decimal
from rich.table import Column, Table

from rwtl import files
from rwtl.errors import InputError
from rwtl.pipeline.artifact import Artifact
from rwtl.pipeline.claim import CLAIMS, Claim, Holder, TakenOver, claim
from rwtl.pipeline.status import (
    DIGEST,
    FORMAT,
    STATES,
    UNFINISHED,
    claims_of,
    folder_of,
    is_complete,
    maker_of,
    read_status,
    reason_of,
    state_of,
    unfinished,
)
from rwtl.sweeps.jobs import SWEEPS, read_jobs
from rwtl.sweeps.view import counted
from rwtl.terminal import show

SHOWN = (*STATES, "outdated", "damaged")
REMOVABLE = ("interrupted", "failed", "outdated", "damaged")


@dataclass(frozen=True)
class Entry:
    """One artifact.

    Args:
        path, label: which it is.
        state: one of SHOWN; `outdated` is what an older version made, which is never reused.
        note: who makes it, or why it is not complete.
        age: since its end, or else its start, s; None where that is not known.
        size: bytes.
        parents: digests by role.
    """

    path: Path
    label: str
    state: str
    note: str = ""
    age: float | None = None
    size: int = 0
    parents: dict[str, str] = field(default_factory=dict)


def entries_of(outputs: Path, stage: str | None = None, state: str | None = None) -> list[Entry]:
    """Return the artifacts below a folder, by stage, the oldest first; those of one stage or in one state, if given.

    Raises InputError for a stage or a state that there is not.
    """
    if stage is not None and stage not in FORMAT:
        raise InputError(f"stage is {stage!r}; choose one of {', '.join(FORMAT)}")
    if state is not None and state not in SHOWN:
        raise InputError(f"state is {state!r}; choose one of {', '.join(SHOWN)}")
    kinds = FORMAT if stage is None else [stage]
    found = [entry_of(path) for kind in kinds for path in _artifacts(outputs, kind)]
    shown = [entry for entry in found if state is None or entry.state == state]
    return sorted(shown, key=lambda entry: (list(FORMAT).index(entry.path.parent.name), -(entry.age or 0.0)))


def _artifacts(outputs: Path, kind: str) -> list[Path]:
    """Return the paths of the artifacts of a kind, finished or not; what else somebody keeps there is not ours."""
    names = {each.name for folder in (outputs, outputs / UNFINISHED) for each in (folder / kind).glob("*")}
    paths = [outputs / kind / name for name in sorted(names) if re.fullmatch(DIGEST, name)]
    return [path for path in paths if _is_ours(path)]


def _is_ours(path: Path) -> bool:
    """Whether there is an artifact, for which its status or its claims speak, or what cannot be read in its place."""
    try:
        ours = (folder_of(path) / files.STATUS, path / CLAIMS, claims_of(path))
    except InputError:
        return True
    return any(os.path.lexists(each) for each in ours)


def entry_of(path: Path) -> Entry:
    """Return what there is to say of the artifact of a path outputs/kind/digest, which need not be finished."""
    size, newest = _size(path) + _size(unfinished(path)), FORMAT[path.parent.name]
    try:
        state, status = state_of(path), read_status(path) or {}
    except InputError as error:
        return Entry(path, "", "damaged", str(error), size=size)
    if state == "missing":  # it was claimed, and its maker ended before it wrote anything
        state = "interrupted"
    note = _note(path, state, status)
    if status.get("format", newest) != newest and state != "running":
        state, note = "outdated", f"format {status['format']}, now {newest}: never reused"
    since = status.get("finished") or status.get("started")
    age = None if since is None else (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds()
    return Entry(path, status.get("label", ""), state, note, age, size, status.get("parents", {}))


def _note(path: Path, state: str, status: dict[str, Any]) -> str:
    if state == "failed":
        return reason_of(status)
    held = maker_of(path)
    if state == "running" and held is not None:
        return f"{held[0]}, last sign of life {max(0.0, held[2]):.0f} s ago"
    if state == "interrupted":
        return reason_of(status) or "its job ended without a word"
    return ""


def _size(path: Path) -> int:
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):  # one that is just replaced
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


def states_of(remove: str | Sequence[str]) -> list[str]:
    """Return the states that are asked for. Raises InputError for one of which nothing may be removed."""
    states = [remove] if isinstance(remove, str) else list(remove)
    for state in states:
        if state not in REMOVABLE:
            raise InputError(f"remove is {state!r}; choose of {', '.join(REMOVABLE)}")
    return states


PARENTS = 3  # digests that are shown; of more, their number


def print_entries(entries: Sequence[Entry]) -> None:
    """Print a line for each artifact, and how many of each state there are."""
    columns = ["stage", Column("digest", no_wrap=True), "label", "state", Column("age", justify="right")]
    columns += [Column("size", justify="right"), "parents", Column("note", overflow="fold")]
    table = Table(*columns)
    for entry in entries:
        many = len(entry.parents) > PARENTS
        parents = f"{len(entry.parents)} artifacts" if many else " ".join(entry.parents.values())
        cells = [entry.path.parent.name, entry.path.name, entry.label, entry.state, age(entry.age), decimal(entry.size)]
        style = None if entry.state == "complete" else "bold"
        table.add_row(*cells, parents, entry.note, style=style)
    show(table, ("parents", "size"), "each artifact's status.json")
    states = counted(entry.state for entry in entries) or "none"
    print(f"{len(entries)} artifacts, {decimal(sum(entry.size for entry in entries))}: {states}", flush=True)


def print_sweeps(outputs: Path) -> None:
    """Print how the jobs of each sweep stand, by the artifacts that they make; a file that is damaged is named."""
    for folder in sorted((outputs / SWEEPS).glob("*/")):
        try:
            states = counted("failed" if job.artifact is None else _state(job.artifact) for job in read_jobs(folder))
        except InputError as error:
            print(f"sweep {folder.name}: {error}")
            continue
        if states:
            print(f"sweep {folder.name}: {states}")


def _state(artifact: Artifact) -> str:
    try:
        return artifact.state()
    except InputError:
        return "damaged"


def age(seconds: float | None) -> str:
    """Return an age in its largest whole unit."""
    if seconds is None:
        return ""
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


class _InUse(Exception):
    """Who holds what was to be removed."""


def remove(entries: Iterable[Entry], states: Collection[str]) -> None:
    """Remove artifacts that are in one of these states, and say so; what a job has just begun to make is left alone."""
    freed = count = 0
    for entry in entries:
        if entry.state not in states:
            continue
        path = entry.path
        try:
            held = claim(claims_of(path), lambda: False, _refuse)
        except _InUse as holder:
            print(f"{path} is kept: {holder} works on it")
            continue
        except OSError as error:  # it is another user's
            print(f"{path} is kept: {error}")
            continue
        try:
            if _clear(path, held, entry.state == "outdated"):
                print(f"removed {path} ({entry.state}, {decimal(entry.size)})")
                freed, count = freed + entry.size, count + 1
        except TakenOver:  # it was stopped, and another job has begun meanwhile
            print(f"{path} is kept: another job works on it")
        except OSError as error:
            print(f"{path} is not removed, or not whole: {error}")
        finally:
            held.finish()
        with suppress(OSError):  # somebody begins to make it again
            unfinished(path).rmdir()
    print(f"{count} removed, {decimal(freed)} freed", flush=True)


def _refuse(holder: Holder | None, silence: float) -> None:
    if holder is not None and holder.dead() is False:
        raise _InUse(holder)


def _complete(path: Path) -> bool:
    try:
        return is_complete(path)
    except InputError:  # it is damaged
        return False


def _clear(path: Path, held: Claim, outdated: bool) -> bool:
    """Remove an artifact, of one that is a symbolic link only the link; return False where it has been made since.

    Each part is renamed before it is removed: a half of it is never taken for the whole, and a job that takes over
    while this one is stopped finds all of a part or nothing.

    Raises TakenOver where another process has taken over.
    """
    if not outdated and _complete(path):
        return False
    work = unfinished(path)
    removed = work / f"removed-{secrets.token_hex(4)}"
    parts = [each for each in work.iterdir() if each.name != CLAIMS]
    held.require()  # after that look: what a later holder makes is not among the parts
    for part in parts:
        if part.is_symlink() or not part.is_dir():
            part.unlink()
        else:
            with suppress(FileNotFoundError):  # it is another holder's now
                os.rename(part, removed)
                shutil.rmtree(removed)
    held.require()
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        os.rename(path, removed)
        if not outdated and _complete(removed):  # it was made at this very moment
            os.rename(removed, path)
            return False
        shutil.rmtree(removed)
    return True
