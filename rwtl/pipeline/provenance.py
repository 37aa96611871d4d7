"""What makes a result here and now: time, host, command, versions, commit."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rwtl import __version__
from rwtl.program import command

PACKAGES = ("torch", "pytorch-lightning", "brian2", "zarr", "numpy", "hydra-core")


def now() -> str:
    """Return the time in UTC, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def provenance() -> dict[str, Any]:
    """Return time, host, process, SLURM job, command, versions and commit."""
    return {
        "started": now(),
        "host": platform.node(),
        "pid": os.getpid(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "command": command(),
        "python": platform.python_version(),
        "packages": {"rwtl": __version__, **{package: version(package) for package in PACKAGES}},
        **_git(),
    }


@cache
def _git() -> dict[str, Any]:
    """The commit of rwtl's own checkout, or None where it is not one, such as in an environment that another project's
    checkout holds."""

    def git(*arguments: str) -> str | None:
        folder = Path(__file__).parent
        try:
            done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.strip()

    if not git("ls-files", Path(__file__).name):
        return {"git_commit": None, "git_dirty": None}
    changes = git("status", "--porcelain")
    return {"git_commit": git("rev-parse", "HEAD"), "git_dirty": None if changes is None else bool(changes)}
