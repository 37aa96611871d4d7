"""Removing artifacts that nobody will reuse."""

import shutil
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from rich.filesize import decimal

from rwtl.claim import Holder, claim
from rwtl.errors import InputError
from rwtl.study.artifact_status import CLAIMS, is_complete
from rwtl.study.status import Entry


class _InUse(Exception):
    """Who holds what was to be removed."""


def remove(entries: Iterable[Entry], states: Collection[str]) -> None:
    """Remove artifacts that are in one of these states, and say so; what a job has just begun to make is left alone."""
    freed = count = 0
    for entry in entries:
        if entry.state not in states:
            continue
        try:
            held = claim(entry.path / CLAIMS, lambda: False, _refuse)
        except _InUse as holder:
            print(f"{entry.path} is kept: {holder} works on it")
            continue
        if entry.state != "outdated" and _complete(entry.path):  # somebody has made it since
            held.release()
            continue
        held.finish(lambda path=entry.path: _clear(path))
        with suppress(OSError):  # somebody begins to make it again
            entry.path.rmdir()
        print(f"removed {entry.path} ({entry.state}, {decimal(entry.size)})")
        freed, count = freed + entry.size, count + 1
    print(f"{count} removed, {decimal(freed)} freed", flush=True)


def _refuse(holder: Holder | None, silence: float) -> None:
    if holder is not None and holder.dead() is False:
        raise _InUse(holder)


def _complete(path: Path) -> bool:
    try:
        return is_complete(path)
    except InputError:  # it is damaged
        return False


def _clear(path: Path) -> None:
    for each in path.iterdir():
        if each.name == CLAIMS:
            continue
        shutil.rmtree(each) if each.is_dir() else each.unlink()
