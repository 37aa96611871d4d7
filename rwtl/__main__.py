"""The command `rwtl`: its first word is an app, and the rest is that app's own line."""

import os
import shutil
import sys
import textwrap
from difflib import get_close_matches
from importlib import import_module

from rwtl import __version__, program
from rwtl.apps import apps


def main(name: str = "rwtl") -> None:
    """Run the app that the command line names; end with exit code 2 where it names none.

    Args:
        name: how this command is called.
    """
    word, *line = sys.argv[1:] or [""]
    known = apps()
    if word in known:
        sys.argv = [f"{name} {word}", *line]
        import_module(f"rwtl.apps.{word}").main()
    elif word in ("-h", "--help"):
        _show(_help(name, known))
    elif word == "--version":
        print(f"rwtl {__version__}")
    elif not word:
        print(_help(name, known), file=sys.stderr)
        sys.exit(2)
    else:
        near = "".join(f"did you mean {app}? " for app in get_close_matches(word, known, 1))
        print(f"error: rwtl has no app {word!r}; {near}{name} --help lists all", file=sys.stderr)
        sys.exit(2)


def _show(text: str) -> None:
    """Print to a reader that may have enough before the end, such as head."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where the rest goes, at exit too


def _help(name: str, known: dict[str, str]) -> str:
    column, width = max(map(len, known)) + 4, shutil.get_terminal_size().columns
    lines = [
        textwrap.fill(
            about, max(width, 2 * column), initial_indent=f"  {app}".ljust(column), subsequent_indent=" " * column
        )
        for app, about in known.items()
    ]
    return "\n".join(
        [
            f"usage: {name} APP [key=value ...] [-m] [--help], or {name} --version",
            "",
            *lines,
            "",
            f"{name} train --help has examples, and lists what can be chosen, with its values.",
        ]
    )


if __name__ == "__main__":
    main(program.AS_MODULE)
