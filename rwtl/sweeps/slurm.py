"""Making artifacts on a SLURM cluster: each is a job, submitted through submitit and followed to its end.

A job depends on those that make what it needs (`afterok`): if it waited for them itself, it would hold its GPU
meanwhile, and time out.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from submitit import AutoExecutor
from submitit.core.utils import DelayedSubmission, FailedJobError, FailedSubmissionError

from rwtl.errors import InputError
from rwtl.files import read_checked, write_json
from rwtl.pipeline.artifact import Artifact, build
from rwtl.pipeline.claim import alone
from rwtl.pipeline.stages import artifact_of
from rwtl.progress import say
from rwtl.sweeps.executors import Ended, Executor, sent
from rwtl.sweeps.slurm_config import SlurmConfig, parameters
from rwtl.sweeps.slurm_queue import cancel, command, ended, queued, require_controller
from rwtl.terminal import lasting

GRACE = 60.0  # s for an artifact's status, and for the accounts, to arrive after a job has left the queue
FOLDER = "slurm"  # below the outputs: the ledger, its claims, and by default the jobs' logs
LEDGER = "jobs.json"


def make_on_cluster(kind: str, config: dict[str, Any], digest: str) -> None:
    """Make the artifact of a configuration: called by a job, and again where SLURM or submitit runs the job again."""
    lasting()  # a log that cannot be written costs no work
    try:
        made = build(artifact_of(kind, OmegaConf.create(config), digest))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise
    print(made.headline, flush=True)


make_on_cluster.checkpoint = partial(DelayedSubmission, make_on_cluster)  # for submitit, near the time limit


class Slurm(Executor):
    """Makes artifacts on a cluster.

    Args:
        config: what is asked for.
        name: of the section that says so, for messages.
        app: gives the jobs their name.
    """

    ahead = True

    def __init__(self, config: SlurmConfig, name: str, app: str):
        self._config, self._section = config, name
        self._name = config.name or app
        self._jobs: dict[Path, str] = {}  # the job that makes each artifact, until it has ended
        self._artifacts: dict[Path, Artifact] = {}
        self._queue: dict[str, str] = {}
        self._left: dict[str, float] = {}  # when a job was first seen to have left the queue
        self._away = False

    def free(self) -> int:
        return sys.maxsize

    def start(self, artifacts: Sequence[Artifact]) -> None:
        """Submit the jobs of artifacts; those that an earlier line, or another one, has in the queue are taken over.

        Jobs that need the same and make artifacts of one kind are an array.

        Raises InputError where there is no SLURM here, or it refuses a job; nothing is left in the queue then.
        """
        require_controller()
        self._artifacts |= {artifact.path: artifact for artifact in artifacts}
        folder = artifacts[0].outputs / FOLDER
        with alone(folder, "SLURM jobs") as require_ours:
            self._queue = queued()
            ledger = {key: job for key, job in _read(folder).items() if job in self._queue}
            found = {each.path: job for each in artifacts if (job := ledger.get(_key(each)))}
            submitted: dict[Path, str] = {}
            try:
                while left := [each for each in artifacts if each.path not in found | submitted]:
                    for (kind, after), members in _arrays(left, self._jobs | found | submitted).items():
                        submitted |= (new := self._submit(kind, after, members))
                        ledger |= {_key(each): new[each.path] for each in members}
                        require_ours()
                        write_json(folder / LEDGER, ledger)  # at once: a line that is killed now leaves no job unknown
            except BaseException:
                cancel(submitted.values())
                raise
        self._jobs |= found | submitted
        logs = self._config.submitit_folder
        say(f"{len(submitted)} SLURM jobs submitted, {len(found)} were in the queue; logs: {logs}")

    def _submit(self, kind: str, after: Sequence[str], members: Sequence[Artifact]) -> dict[Path, str]:
        """Submit an array of jobs that begin when the jobs `after` have succeeded, and return them by folder."""
        config, asked = self._config, self._config.resources(kind)
        try:
            executor = AutoExecutor(config.submitit_folder, "slurm", slurm_max_num_timeout=asked.max_num_timeout)
            executor.update_parameters(**parameters(config, asked, f"{self._name}-{kind}", after))
            with executor.batch():
                array = [executor.submit(make_on_cluster, *sent(each)) for each in members]
        except (FailedJobError, FailedSubmissionError) as error:
            raise InputError(self._refused(str(error))) from error
        except OSError as error:
            raise InputError(
                f"cannot write to {config.submitit_folder} ({error.strerror}); set paths.outputs to a folder that all "
                "nodes share"
            ) from error
        return {member.path: job.job_id for member, job in zip(members, array, strict=True)}

    def _refused(self, message: str) -> str:
        said = " ".join(line.removeprefix("sbatch: error: ") for line in message.splitlines() if line.strip())
        remedy = ""
        if "partition" in said:
            partitions = sorted(set(command("sinfo", "--noheader", "--format=%R").split()))
            remedy = f"; {self._section}.partition is one of {', '.join(partitions)}"
        if "ccount" in said:
            remedy += f"; set {self._section}.account to one that you may use (sacctmgr show associations user=$USER)"
        return f"SLURM refuses a job, and nothing was submitted: {said}{remedy}"

    def ended(self) -> dict[Path, Ended]:
        found: dict[Path, Ended] = {}
        try:
            self._queue = queued()
        except InputError as error:
            if not self._away:
                say(f"{error}; the jobs go on meanwhile, and this waits")
            self._away = True
        else:
            if self._away:
                say("SLURM answers again")
            self._away = False
            gone = {path: job for path, job in self._jobs.items() if job not in self._queue}
            ends = ended(gone.values()) if gone else {}
            for path, job in gone.items():
                if said := self._end(path, job, ends.get(job)):
                    found[path] = said
                    del self._jobs[path]
        if not found:
            time.sleep(self._config.poll)
        return found

    def _end(self, path: Path, job: str, end: Ended | None) -> Ended | None:
        """How a job ended; None while its artifact's status, or the accounts, may still come."""
        artifact, log = self._artifacts[path], f"{self._config.submitit_folder.replace('%j', job)}/{job}_0_log.out"
        try:
            if artifact.status().get("state") == "complete":
                return Ended(log=log)
        except InputError as error:  # its status is damaged, which stops no other
            return Ended("failed", str(error), log=log)
        if any(parent.path in self._jobs for parent in artifact.parents.values()):
            return None  # it was cancelled because a parent failed, of which the reason is still to come
        waited = time.monotonic() - self._left.setdefault(job, time.monotonic())
        if waited < GRACE and not (end and end.state):
            return None
        end = end or Ended(detail=f"SLURM job {job} left the queue without a word")
        if Path(log).exists():
            return Ended(end.state or "died", end.detail, log=log)
        unwritten = f"before it wrote a log: can its node write to {artifact.outputs}?"
        return Ended(end.state or "died", f"{end.detail}, {unwritten}")

    def waits(self, artifact: Artifact) -> str:
        reason = self._queue.get(self._jobs.get(artifact.path, ""))
        return f"queued ({reason})" if reason else ""

    def drop(self, artifact: Artifact) -> None:
        """Forget a job that SLURM cancels itself, for it can no longer begin."""
        self._jobs.pop(artifact.path, None)

    def leave(self, interrupt: KeyboardInterrupt) -> bool:
        """Ask whether to cancel the jobs, where there is somebody to ask; otherwise they go on."""
        if not self._jobs:
            return False
        jobs = list(self._jobs.values())
        ids = " ".join(sorted({job.split("_")[0] for job in jobs}, key=int))
        answer = ""
        if not str(interrupt) and sys.stdin.isatty():
            with suppress(KeyboardInterrupt, EOFError):
                answer = input(f"\ncancel the jobs, queued or running ({ids})? [y/N] ")
        if answer.strip().lower() in ("y", "yes"):
            cancel(jobs)
            say("the jobs are cancelled")
            return False
        say(f"the jobs go on; the same line watches them again, and scancel {ids} ends them")
        return True


def _key(artifact: Artifact) -> str:
    return f"{artifact.kind}/{artifact.digest}"


def _arrays(left: Sequence[Artifact], jobs: Mapping[Path, str]) -> dict[tuple[str, tuple[str, ...]], list[Artifact]]:
    """Those that need nothing of the others, by kind and by the jobs that make what they need."""
    paths = {each.path for each in left}
    arrays: dict[tuple[str, tuple[str, ...]], list[Artifact]] = {}
    for artifact in left:
        parents = {parent.path for parent in artifact.parents.values()}
        if not parents & paths:
            after = tuple(sorted({jobs[path] for path in parents if path in jobs}))
            arrays.setdefault((artifact.kind, after), []).append(artifact)
    return arrays


def _read(folder: Path) -> dict[str, str]:
    """Return the jobs that were submitted for artifacts below the same outputs, by kind and digest."""
    remedy = "which jobs are queued is not known: remove it when squeue --me shows none"
    return read_checked(folder / LEDGER, dict[str, str], remedy) or {}
