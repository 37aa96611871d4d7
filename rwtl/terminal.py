"""Tables and numbers for people to read, on a terminal or in a log."""

import errno
import math
import os
import stat
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

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
    """Return a console that prints as wide as the terminal is, and WIDTH characters wide into a file or a log.

    It takes all text as it stands: names that users give may hold `[`, which Rich would read as markup, or `:x:`.

    Args:
        file: where it prints; None for the standard output.
    """
    stream = file or sys.stdout  # None where a shell has closed it
    width = None if stream is not None and stream.isatty() else WIDTH
    return Console(file=file, width=width, markup=False, emoji=False)


def show(table: Table) -> None:
    """Print a table on the standard output."""
    console().print(table)


def number(value: float | None, form: str, missing: str = "") -> str:
    """Return a number as a format specification such as `.2f` writes it, and `missing` for None and for NaN."""
    return missing if value is None or math.isnan(value) else f"{value:{form}}"
