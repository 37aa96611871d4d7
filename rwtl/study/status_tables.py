"""Tables of what is in the outputs, for people."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Column, Table

from rwtl.study.job_states import WIDTH
from rwtl.study.jobs import SWEEPS, read_records
from rwtl.study.status import Entry

PARENTS = 3  # digests that are shown; of more, their number
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def print_entries(entries: Sequence[Entry]) -> None:
    """Print a line for each artifact, and how many of each state there are."""
    columns = ["stage", Column("digest", no_wrap=True), "label", "state", Column("age", justify="right")]
    columns += [Column("size", justify="right"), "parents", Column("note", overflow="fold")]
    table = Table(*columns)
    for entry in entries:
        cells = [entry.kind, entry.digest, entry.label, entry.state, age(entry.age), decimal(entry.size)]
        style = None if entry.state == "complete" else "bold"
        table.add_row(*(escape(cell) for cell in (*cells, _parents(entry), entry.note)), style=style)
    show(table)
    counted = ", ".join(f"{count} {state}" for state, count in Counter(entry.state for entry in entries).items())
    print(f"{len(entries)} artifacts, {decimal(sum(entry.size for entry in entries))}: {counted or 'none'}", flush=True)


def _parents(entry: Entry) -> str:
    many = len(entry.parents) > PARENTS
    return f"{len(entry.parents)} artifacts" if many else " ".join(entry.parents.values())


def print_sweeps(outputs: Path) -> None:
    """Print how the jobs of each sweep that left records stand, as they say themselves."""
    for folder in sorted((outputs / SWEEPS).glob("*/")):
        counted = Counter("reused" if each.reused else each.state for each in read_records(folder).values())
        if counted:
            print(f"sweep {folder.name}: {', '.join(f'{count} {state}' for state, count in counted.items())}")


def show(table: Table) -> None:
    """Print a table, as wide as the terminal, or as a log file may be."""
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)


def age(seconds: float | None) -> str:
    """Return an age in its largest whole unit."""
    if seconds is None:
        return ""
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
