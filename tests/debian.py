"""Debian's packages that tests need of this machine, installed where they are missing."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

INSTALL = 240.0  # s that a step of the installation may take


def provide(packages: list[str], programs: list[str]) -> str | None:
    """Install packages where one of their programs is missing; return why that cannot be, or None."""
    with (Path(tempfile.gettempdir()) / "rwtl-debian-packages.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of the processes that want packages, one installs
        missing = _missing(programs)
        if missing and os.geteuid() != 0:
            return f"{', '.join(missing)} are missing, and installing them needs root"
        if missing and shutil.which("apt-get") is None:
            return f"{', '.join(missing)} are missing, and there is no apt-get"
        if missing:
            still = f"{', '.join(missing)} are missing even so"
            return _install(packages) or (still if _missing(programs) else None)
    return None


def _missing(programs: list[str]) -> list[str]:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [program for program in programs if shutil.which(program, path=path) is None]


def _install(packages: list[str]) -> str | None:
    install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *packages]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    quiet["env"] = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "--quiet"], install):
        try:
            done = subprocess.run(command, timeout=INSTALL, **quiet)
        except subprocess.TimeoutExpired:
            return f"{' '.join(command[:2])} has not ended within {INSTALL:g} s"
        if done.returncode:
            return f"{' '.join(command[:2])} failed: {done.stdout.strip().splitlines()[-1]}"
    return None
