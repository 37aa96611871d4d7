"""How this process was called, so that command lines that it records and prints are called in the same way.

`python experiments/train.py` from a checkout, `rwtl train` wherever rwtl is installed, and `python -m rwtl train`.
"""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

EXPERIMENTS = Path(__file__).parents[1] / "experiments"  # is not there where rwtl is installed from a wheel
AS_MODULE = "python -m rwtl"


def call_of(app: str) -> str:
    """Return how to call an app: by its file if this process runs one of those files, else by the command `rwtl`."""
    called = Path(sys.argv[0])
    if called.suffix == ".py" and called.resolve().parent == EXPERIMENTS:
        return shlex.join(["python", str(called.with_name(f"{app}.py"))])
    return f"{AS_MODULE if sys.argv[0].startswith(f'{AS_MODULE} ') else 'rwtl'} {app}"


def command() -> list[str]:
    """Return the words that this process was called with; a file that Python runs comes first, without `python`."""
    called, *words = sys.argv
    is_ours = called.startswith(("rwtl ", f"{AS_MODULE} "))  # rwtl.__main__ names itself and the app in one word
    return [*(called.split() if is_ours else [called]), *words]


def command_line(words: Sequence[str]) -> str:
    """Return the line for a shell of words as `command` returns them, and as artifacts record them."""
    is_line = words[:1] == ["rwtl"] or list(words[:3]) == AS_MODULE.split()
    return shlex.join(words if is_line else ["python", *words])


@cache
def git() -> dict[str, Any]:
    """Return `git_commit` of rwtl's own checkout, and `git_dirty`, whether it holds changes; None where it is none,
    such as in an environment that another project's checkout holds."""

    def said(*arguments: str) -> str | None:
        folder = Path(__file__).parent
        try:
            done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.strip()

    if not said("ls-files", Path(__file__).name):
        return {"git_commit": None, "git_dirty": None}
    changes = said("status", "--porcelain")
    return {"git_commit": said("rev-parse", "HEAD"), "git_dirty": None if changes is None else bool(changes)}
