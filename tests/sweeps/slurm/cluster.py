"""A SLURM cluster of four nodes on this machine, as a program: it lives until its standard input closes.

    python tests/sweeps/slurm/cluster.py        # prints the variable that makes sbatch and the others speak to it

It is made of Debian's packages (see machine.py), needs root, and keeps all its files in one folder below the temporary
one, which it removes at its end. Every process of it, jobs included, is a descendant of this program and ends with it,
however the program that started it ended. One node, where containers allow it, sees a folder empty that others share.
"""

import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

NODES = ("n1", "n2", "n3", "n4")
HIDDEN = "hidden"  # a folder of the cluster that the partition `lonely` finds empty, and cannot write to
SIZE = "CPUs=4 RealMemory=16000"  # of a node, whatever the machine has
READY = "ready"
PORTS = (18000, 20000)  # below those that Linux gives to connections
START = 240.0  # s that a daemon may take
_PR_SET_CHILD_SUBREAPER = 36

SLURM_CONF = """\
ClusterName=rwtl
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
KillWait=5
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=sched_min_interval=0,sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={accounting_port}
AccountingStoragePass={folder}/munge.socket
AccountingStorageEnforce=associations
JobAcctGatherType=jobacct_gather/none
{nodes}
PartitionName=normal Nodes=n[1-3] Default=YES PriorityTier=10
PartitionName=low Nodes=n[1-3] PriorityTier=1 PreemptMode=REQUEUE
PartitionName=lonely Nodes=n4
"""

SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={accounting_port}
SlurmUser=root
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageLoc=slurm
StorageUser=root
"""


class Cluster:
    """The daemons of a cluster, as children of this process.

    Args:
        folder: an empty one that every user can traverse.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.daemons: dict[str, subprocess.Popen] = {}

    def start(self) -> None:
        """Start all daemons, and return when the nodes are idle."""
        names = ["controller_port", "accounting_port", *NODES]
        claimed, self._claim = _claim_ports(len(names))
        ports = dict(zip(names, claimed, strict=True))
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 Port={ports[name]} {SIZE}"
            for name in NODES
        )
        values = {"folder": self.folder, "host": socket.gethostname(), "nodes": nodes, **ports}
        (self.folder / "slurm.conf").write_text(SLURM_CONF.format(**values))
        (self.folder / "slurmdbd.conf").write_text(SLURMDBD_CONF.format(**values))
        (self.folder / "slurmdbd.conf").chmod(0o600)
        for name in ("state", HIDDEN, *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir()
        os.environ["SLURM_CONF"] = str(self.folder / "slurm.conf")
        os.environ["MYSQL_UNIX_PORT"] = str(self.folder / "mariadb.socket")
        self._munge()
        self._database()
        self._daemon("slurmdbd", "slurmdbd", "-D")
        self._until("slurmdbd", lambda: self._answers("sacctmgr", "-in", "list", "cluster"))
        self._run("sacctmgr", "-in", "add", "cluster", "rwtl")
        self._run("sacctmgr", "-in", "add", "account", "study")
        self._run("sacctmgr", "-in", "add", "user", "root", "account=study")
        self._daemon("slurmctld", "slurmctld", "-D")
        for name in NODES[:-1]:
            self._daemon(name, "slurmd", "-D", "-N", name)
        hide = f"mount -t tmpfs -o ro none {self.folder / HIDDEN} && exec slurmd -D -N {NODES[-1]}"
        alone = self._answers("unshare", "--mount", "true")  # not in every container
        self._daemon(
            NODES[-1], *(["unshare", "--mount", "sh", "-c", hide] if alone else ["slurmd", "-D", "-N", NODES[-1]])
        )
        self._until("slurmctld", self._idle)

    def _munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        options = {"key-file": key, "socket": self.folder / "munge.socket", "pid-file": self.folder / "munge.pid"}
        options |= {"log-file": self.folder / "munge.log", "seed-file": self.folder / "munge.seed"}
        self._daemon("munged", "munged", "--foreground", *(f"--{name}={value}" for name, value in options.items()))
        self._until("munged", (self.folder / "munge.socket").exists)

    def _database(self) -> None:
        data = self.folder / "mariadb"
        # A starting server removes all temporary tables of the folder for them, another cluster's too.
        temporary = self.folder / "temporary"
        temporary.mkdir()
        os.environ["TMPDIR"] = str(temporary)
        install = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve", "--user=root"]
        self._run("mariadb-install-db", "--no-defaults", f"--datadir={data}", *install)
        options = ["--skip-networking", "--user=root", f"--socket={self.folder / 'mariadb.socket'}"]
        options += ["--innodb-flush-method=nosync", "--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M"]
        self._daemon("mariadbd", "mariadbd", "--no-defaults", f"--datadir={data}", *options)
        ping = ["mariadb", "--no-defaults", f"--socket={self.folder / 'mariadb.socket'}", "-uroot", "-e", "select 1"]
        self._until("mariadbd", lambda: self._answers(*ping))

    def _daemon(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.out").open("wb") as out:
            self.daemons[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd=self.folder
            )

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=START)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")

    def _answers(self, *command: str) -> bool:
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def _idle(self) -> bool:
        states = subprocess.run(["sinfo", "-N", "-h", "-o", "%N %t"], capture_output=True, text=True).stdout
        return {f"{name} idle" for name in NODES} <= set(states.splitlines())

    def _until(self, name: str, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + START
        while not ready():
            if self.daemons[name].poll() is not None or time.monotonic() > end:
                logs = [self.folder / f"{name}.{ending}" for ending in ("out", "log")]
                last = "\n".join(log.read_text(errors="replace")[-2000:] for log in logs if log.exists())
                raise RuntimeError(f"{name} did not come up:\n{last}")
            time.sleep(0.1)


def end_descendants() -> None:
    """Kill all processes that this one, directly or not, has started, and return when there are none."""
    while True:
        for child in _descendants():
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            return
        time.sleep(0.02)


def _descendants() -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                children.setdefault(int(parent), []).append(int(entry.name))
    found = [os.getpid()]
    for process in found:
        found += children.get(process, [])
    return found[1:]


def _claim_ports(count: int) -> tuple[range, IO]:
    """Return ports that no other cluster has while the file is open, nor, as a rule, any connection."""
    for first in range(*PORTS, count):
        ports = range(first, first + count)
        file = (Path(tempfile.gettempdir()) / f"rwtl-slurm-ports-{first}.lock").open("w")
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if all(map(_is_free, ports)):
                return ports, file
        file.close()
    raise RuntimeError(f"no {count} ports in a row are free from {PORTS[0]} to {PORTS[1]}")


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind(("", port))
        except OSError:
            return False
    return True


def main() -> None:
    def end(*_: object) -> None:
        raise SystemExit

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # orphans become children of this one
    folder = Path(tempfile.mkdtemp(prefix="rwtl-slurm-"))
    folder.chmod(0o755)
    try:
        Cluster(folder).start()
        print(f"export SLURM_CONF={folder / 'slurm.conf'}\n{READY}", flush=True)
        sys.stdin.read()
    finally:
        end_descendants()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
