"""Tables and numbers for people to read, on a terminal or in a log."""

import math
import sys
from typing import TextIO

from rich.console import Console
from rich.table import Table

WIDTH = 160  # characters, in a file, where there is no terminal to ask


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
