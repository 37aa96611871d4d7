"""Tables and numbers for people to read, on a terminal or in a log."""

import errno
import math
import os
import re
import stat
import sys
import textwrap
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table

if TYPE_CHECKING:
    import pandas as pd

WIDTH = 160  # characters, in a file, where there is no terminal to ask


class Lasting:
    """A stream that takes whatever it is given, for what a program prints is never worth its work: also once nobody
    reads it any more, as after `| head`, where the disk that a log is on is full, and with an encoding that lacks
    letters, which it writes as `\\xb5`.

    Args:
        stream: the standard output, or that of errors.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding
            return self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except OSError as error:
            self._lose(error)
            return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        """Do without what could not be written; and without all that comes, unless a disk is full, which may change."""
        with suppress(OSError, ValueError):  # of a stream without a file
            is_file = stat.S_ISREG(os.fstat(self._stream.fileno()).st_mode)
            if not (is_file and error.errno in (errno.ENOSPC, errno.EDQUOT)):
                with open(os.devnull, "wb") as nowhere:
                    os.dup2(nowhere.fileno(), self._stream.fileno())  # where the rest goes, at exit too


def lasting() -> None:
    """Let the standard streams of this process take whatever is printed from now on."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, Lasting):
            setattr(sys, name, Lasting(stream))


def console(file: TextIO | None = None) -> Console:
    """Return a console that prints as wide as the terminal is; into a file or a log COLUMNS characters wide, as the
    environment has it, or else WIDTH.

    It takes all text as it stands: names that users give may hold `[`, which Rich would read as markup, or `:x:`.

    Args:
        file: where it prints; None for the standard output.
    """
    stream = file or sys.stdout  # None where a shell has closed it
    columns = os.environ.get("COLUMNS", "")
    width = None if stream is not None and stream.isatty() else int(columns) if columns.isdigit() else WIDTH
    return Console(file=file, width=width, markup=False, emoji=False)


INTERVALS = "intervals"  # in cells such as 1.23 [1.10, 1.36], as a part that may be left out
_LEAST = 14  # characters that a column of texts has at least; longer ones go on in the next line
_NUMBER = re.compile(r"[-+−±≤≥<>~]?\s?[\d.]|(-|nan|inf|-inf)$")


def show(table: Table, least: Sequence[str] = (), where: str = "") -> None:
    """Print a table on the standard output, no wider than the terminal.

    Numbers are never cut. Where there is no room for all of them, headings are broken at their spaces and texts over
    several lines; then the columns of least importance are left out, which is said below.

    Args:
        table: of texts.
        least: headings of columns, and INTERVALS, in the order in which they may go; after them go the last columns of
            numbers.
        where: where all of it is, such as the name of a file.
    """
    out = console()
    shown, gone = fitted(table, out.width, least)
    out.print(shown)
    if gone:
        print(f"left out at {out.width} columns: {', '.join(gone)}" + (f"; all is in {where}" if where else ""))


def show_frame(frame: "pd.DataFrame", form: str, least: Sequence[str] = (), where: str = "") -> None:
    """Print a DataFrame as a table, its real numbers by a format specification such as `.2f`."""
    columns = [Column(str(name), justify="right" if frame[name].dtype.kind in "fiu" else "left") for name in frame]
    table = Table(*columns)
    for row in frame.itertuples(index=False):
        table.add_row(*(f"{value:{form}}" if isinstance(value, float) else str(value) for value in row))
    show(table, least, where)


def fitted(table: Table, width: int, least: Sequence[str] = ()) -> tuple[Table, list[str]]:
    """Return a table that fits a width, as `show` prints it, and what was left out of it."""
    headings = [str(column.header) for column in table.columns]
    cells = [[str(cell) for cell in column.cells] for column in table.columns]
    numeric = [bool(any(texts)) and all(not text or _NUMBER.match(text) for text in texts) for texts in cells]
    last = [heading for heading, is_number in zip(headings, numeric, strict=True) if is_number][::-1]
    gone: list[str] = []
    empty = [heading for heading, texts in zip(headings, cells, strict=True) if not any(texts)]
    for goes in (None, *dict.fromkeys([*(name for name in least if name == INTERVALS or name in headings), *last])):
        if goes == INTERVALS:
            shortened = [[re.sub(r" \[[^]]*\]", "", text) for text in texts] for texts in cells]
            if shortened != cells:
                cells, gone = shortened, [*gone, INTERVALS]
        elif goes is not None:
            gone.append(goes)
        kept = [number for number, heading in enumerate(headings) if heading not in gone]
        if _needed(table, kept, headings, cells, numeric) > width:  # what says nothing goes first, and without a word
            kept = [number for number in kept if headings[number] not in empty]
        if _needed(table, kept, headings, cells, numeric) <= width:
            break
    return _rebuilt(table, kept, headings, cells, numeric, width), gone


def _whole(column: Column, is_number: bool) -> bool:
    """Whether the cells of a column are not to be broken."""
    return is_number or column.no_wrap


def _needed(table: Table, kept: list[int], headings: list[str], cells: list[list[str]], numeric: list[bool]) -> int:
    """Return how wide a table is at least: three characters for each column go to its borders, and one to the last."""
    total = 1
    for number in kept:
        words = max(map(cell_len, headings[number].split()), default=0)
        longest = max(map(cell_len, cells[number]), default=0)
        whole = _whole(table.columns[number], numeric[number])
        total += 3 + max(words, longest if whole else min(longest, _LEAST))
    return total


def _rebuilt(
    table: Table, kept: list[int], headings: list[str], cells: list[list[str]], numeric: list[bool], width: int
) -> Table:
    """Return the table of some columns; headings are broken where that saves room that is lacking."""
    wide = 1 + sum(3 + max(map(cell_len, [headings[number], *cells[number]])) for number in kept)
    columns = []
    for number in kept:
        column = table.columns[number]
        whole = _whole(column, numeric[number])
        heading = headings[number]
        if whole and wide > width:
            room = max(map(cell_len, [*cells[number], *heading.split()]), default=1)
            heading = "\n".join(textwrap.wrap(heading, max(1, room)))
        columns.append(Column(heading, justify=column.justify, no_wrap=whole, overflow="fold"))
    new = Table(*columns, title=table.title)
    for number, row in enumerate(table.rows):
        new.add_row(*(cells[column][number] for column in kept), style=row.style)
    return new


def tell(text: str) -> None:
    """Print a sentence on the standard output, broken between words."""
    console().print(text, highlight=False)


def number(value: float | None, form: str, missing: str = "") -> str:
    """Return a number as a format specification such as `.2f` writes it, and `missing` for None and for NaN."""
    return missing if value is None or math.isnan(value) else f"{value:{form}}"
