"""Command lines of a study so small that it runs in seconds."""

import re
import sys
from pathlib import Path

import forked

ROOT = Path(__file__).parents[1]
TINY = "debug=tiny"


def command(app, outputs, *overrides):
    """The words of a command line, as a shell would get them."""
    return [sys.executable, *_words(app, outputs, overrides)]


def start(app, outputs, *overrides, cwd=ROOT, **where):
    """Start an app in a process of its own (see forked.py)."""
    return forked.Program(_words(app, outputs, overrides), cwd=cwd, **where)


def run(app, outputs, *overrides, cwd=ROOT, **where):
    """Run an app in a process of its own; return its exit code and what it printed."""
    return forked.run(_words(app, outputs, overrides), cwd=cwd, **where)


def besides_progress(errors):
    """The lines of a standard error that tell neither of stages and their number nor, indented, of progress."""
    progress = re.compile(r"  |.*: (making|reused) /|[\w ]+: \d+ (of \d+ ·|to make \()")
    return [line for line in errors.splitlines() if not progress.match(line)]


def _words(app, outputs, overrides):
    return [str(ROOT / "experiments" / f"{app}.py"), *overrides, f"paths.outputs={outputs}"]
