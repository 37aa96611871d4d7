"""What a cluster needs of this machine: programs, root, and no SLURM of its own."""

import os
from pathlib import Path

from debian import provide

PACKAGES = "munge slurmctld slurmd slurm-client slurmdbd mariadb-server-core mariadb-client-core".split()
PROGRAMS = "munged slurmctld slurmd slurmdbd sbatch squeue sacct sacctmgr mariadbd mariadb mariadb-install-db".split()
CONFIGURED = ("/etc/slurm/slurm.conf", "/etc/slurm-llnl/slurm.conf", "/run/slurm/conf/slurm.conf")


def prepare() -> str | None:
    """Install what is missing; return why there can be no cluster here, or None where there can."""
    if "SLURM_CONF" in os.environ or (there := [path for path in CONFIGURED if Path(path).exists()]):
        where = os.environ.get("SLURM_CONF") or there[0]
        return f"this machine has a SLURM of its own ({where}), which is left alone"
    if os.geteuid() != 0:
        return "SLURM's daemons need root"
    return provide(PACKAGES, PROGRAMS)
