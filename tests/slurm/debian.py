"""What a cluster needs of this machine: Debian's packages, installed where missing, and no SLURM of its own."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

PACKAGES = "munge slurmctld slurmd slurm-client slurmdbd mariadb-server-core mariadb-client-core".split()
PROGRAMS = "munged slurmctld slurmd slurmdbd sbatch squeue sacct sacctmgr mariadbd mariadb mariadb-install-db".split()
INSTALL = 240.0  # s that a step of the installation may take
CONFIGURED = ("/etc/slurm/slurm.conf", "/etc/slurm-llnl/slurm.conf", "/run/slurm/conf/slurm.conf")


def prepare() -> str | None:
    """Install what is missing; return why there can be no cluster here, or None where there can."""
    if "SLURM_CONF" in os.environ or (there := [path for path in CONFIGURED if Path(path).exists()]):
        where = os.environ.get("SLURM_CONF") or there[0]
        return f"this machine has a SLURM of its own ({where}), which is left alone"
    if os.geteuid() != 0:
        return "SLURM's daemons need root"
    with (Path(tempfile.gettempdir()) / "rwtl-slurm-packages.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of the processes that want a cluster, one installs
        missing = _missing()
        if missing and shutil.which("apt-get") is None:
            return f"{', '.join(missing)} are missing, and there is no apt-get"
        if missing:
            return _install() or (f"{', '.join(still)} are missing even so" if (still := _missing()) else None)
    return None


def _missing() -> list[str]:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [program for program in PROGRAMS if shutil.which(program, path=path) is None]


def _install() -> str | None:
    install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *PACKAGES]
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
