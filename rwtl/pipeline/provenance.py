"""What makes a result here and now: time, host, command, versions, commit."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from rwtl import __version__
from rwtl.program import command, git

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
        **git(),
    }
