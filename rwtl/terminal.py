"""Tables and numbers for people to read, on a terminal or in a log."""

import math
import os
import sys
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

WIDTH = 160  # characters, in a file, where there is no terminal to ask


class Lasting:
    """A stream that takes whatever it is given, also once nobody reads it any more, as after `| head`: the work that
    prints goes on.

    Args:
        stream: the standard output.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._give_up()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._give_up()

    def _give_up(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())  # where the rest goes, at exit too


def console(file: TextIO | None = None) -> Console:
    """Return a console that prints as wide as the terminal is, and WIDTH characters wide into a file or a log.

    Args:
        file: where it prints; None for the standard output.
    """
    return Console(file=file, width=None if (file or sys.stdout).isatty() else WIDTH)


def show(table: Table) -> None:
    """Print a table on the standard output."""
    console().print(table)


def number(value: float | None, form: str, missing: str = "") -> str:
    """Return a number as a format specification such as `.2f` writes it, and `missing` for None and for NaN."""
    return missing if value is None or math.isnan(value) else f"{value:{form}}"
