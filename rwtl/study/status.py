"""What is in the outputs: every artifact, its state, age, size and parents."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rwtl.claim import holder_of
from rwtl.errors import InputError
from rwtl.study.artifact import FORMAT
from rwtl.study.artifact_status import CLAIMS, read_status, state_of

STATES = ("complete", "running", "interrupted", "failed", "outdated", "damaged")
REMOVABLE = ("interrupted", "failed", "outdated", "damaged")


@dataclass(frozen=True)
class Entry:
    """One artifact.

    Args:
        kind, digest, path, label: which it is.
        state: one of STATES; `outdated` is what an older version made, which is never reused.
        note: who makes it, or why it is not complete.
        age: since its end, or else its start, s; None where that is not known.
        size: bytes.
        parents: digests by role.
    """

    kind: str
    digest: str
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
    if state is not None and state not in STATES:
        raise InputError(f"state is {state!r}; choose one of {', '.join(STATES)}")
    kinds = FORMAT if stage is None else [stage]
    folders = [folder for kind in kinds for folder in sorted((outputs / kind).glob("*")) if folder.is_dir()]
    found = [entry_of(folder) for folder in folders]
    shown = [entry for entry in found if state is None or entry.state == state]
    return sorted(shown, key=lambda entry: (list(FORMAT).index(entry.kind), -(entry.age or 0.0)))


def entry_of(path: Path) -> Entry:
    """Return what there is to say of the artifact in a folder outputs/kind/digest."""
    kind, digest = path.parent.name, path.name
    size = _size(path)
    try:
        state, status = state_of(path), read_status(path) or {}
    except InputError as error:
        return Entry(kind, digest, path, "", "damaged", str(error), size=size)
    if state == "missing":  # it was claimed, and its maker ended before it wrote anything
        state = "interrupted"
    outdated = status.get("format", FORMAT[kind]) != FORMAT[kind] and state != "running"
    note = _note(path, state, status)
    if outdated:
        state, note = "outdated", f"format {status['format']}, now {FORMAT[kind]}: never reused"
    parents = status.get("parents", {})
    return Entry(kind, digest, path, status.get("label", ""), state, note, _age(status), size, parents)


def _note(path: Path, state: str, status: dict[str, Any]) -> str:
    if state == "failed":
        return status.get("reason", "").removeprefix("InputError: ")
    held = holder_of(path / CLAIMS)
    if state == "running" and held is not None:
        return f"{held[0]}, last sign of life {max(0.0, held[2]):.0f} s ago"
    if state == "interrupted":
        return status.get("reason", "its job ended without a word")
    return ""


def _age(status: dict[str, Any]) -> float | None:
    time = status.get("finished") or status.get("started")
    return None if time is None else (datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds()


def _size(path: Path) -> int:
    total = 0
    for folder, _, files in os.walk(path):
        for file in files:
            with suppress(OSError):  # one that is just replaced
                total += os.lstat(os.path.join(folder, file)).st_size
    return total


def states_of(remove: str | Sequence[str]) -> list[str]:
    """Return the states that are asked for. Raises InputError for one of which nothing may be removed."""
    states = [remove] if isinstance(remove, str) else list(remove)
    for state in states:
        if state not in REMOVABLE:
            raise InputError(f"remove is {state!r}; choose of {', '.join(REMOVABLE)}")
    return states
