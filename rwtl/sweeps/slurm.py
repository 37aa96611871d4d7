"""Making artifacts on a SLURM cluster: each is a job, submitted through submitit and followed to its end.

A job depends on those that make what it needs (`afterok`): if it waited for them itself, it would hold its GPU
meanwhile, and time out.
"""

import json
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from submitit import AutoExecutor
from submitit.core.utils import FailedJobError, FailedSubmissionError

from rwtl.errors import InputError
from rwtl.files import write_json
from rwtl.pipeline.artifact import Artifact, build
from rwtl.pipeline.claim import alone
from rwtl.sweeps.executors import Ended, Executor
from rwtl.sweeps.slurm_config import SlurmConfig, parameters
from rwtl.sweeps.slurm_queue import Ended as EndOfJob
from rwtl.sweeps.slurm_queue import Queued, cancel, command, ended, queued, require_controller

GRACE = 60.0  # s for an artifact's status, and for the accounts, to arrive after a job has left the queue
INTERRUPTED = ("CANCELLED", "PREEMPTED")
FOLDER = "slurm"  # below the outputs: the ledger, its claims, and by default the jobs' logs
LEDGER = "jobs.json"


class StageJob:
    """Is called on the cluster, and again after it was queued again.

    Args:
        artifact: of which kind, configuration and digest are sent to the cluster.
    """

    def __init__(self, artifact: Artifact):
        self.kind, self.digest = artifact.kind, artifact.digest
        self.config = OmegaConf.to_container(artifact.config, resolve=False)

    def __call__(self) -> None:
        from rwtl.pipeline.stages import artifact_of  # PyTorch is loaded on the cluster alone

        try:
            made = build(artifact_of(self.kind, OmegaConf.create(self.config), self.digest))
        except InputError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            raise
        print(made.headline, flush=True)

    def checkpoint(self) -> Any:
        """What submitit queues again: the artifact itself is what is gone on with."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


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
        self._queue: dict[str, Queued] = {}
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
        with alone(folder, "SLURM jobs"):
            self._queue = queued()
            ledger = {key: job for key, job in _read(folder).items() if job in self._queue}
            found = {each.path: job for each in artifacts if (job := ledger.get(_key(each)))}
            submitted: dict[Path, str] = {}
            with closing(self._submit([each for each in artifacts if each.path not in found], found)) as arrays:
                for new in arrays:
                    submitted |= new
                    ledger |= {_key(self._artifacts[path]): job for path, job in new.items()}
                    write_json(folder / LEDGER, ledger)  # at once: a line that is killed now leaves no job unknown
        self._jobs |= found | submitted
        logs = self._config.submitit_folder
        print(f"{len(submitted)} SLURM jobs submitted, {len(found)} were in the queue; logs: {logs}", flush=True)

    def _submit(
        self, artifacts: Sequence[Artifact], known: Mapping[Path, str]
    ) -> Generator[dict[Path, str], None, None]:
        """Submit an array for each kind and set of needs, parents first, and yield its jobs.

        Where one is refused, or the caller is interrupted, all are cancelled.
        """
        jobs = {**self._jobs, **known}
        made: dict[Path, str] = {}
        left = list(artifacts)
        paths = {artifact.path for artifact in artifacts}
        try:
            with self._readable():
                while left:
                    groups: dict[tuple[str, frozenset[str]], list[Artifact]] = {}
                    for artifact in left:
                        parents = [parent.path for parent in artifact.parents.values()]
                        if not any(path in paths and path not in made for path in parents):
                            after = frozenset(jobs[path] for path in parents if path in jobs)
                            groups.setdefault((artifact.kind, after), []).append(artifact)
                    for (kind, after), members in groups.items():
                        executor = self._executor(kind, sorted(after))
                        with executor.batch():
                            array = [executor.submit(StageJob(member)) for member in members]
                        new = {member.path: job.job_id for member, job in zip(members, array, strict=True)}
                        made, jobs = made | new, jobs | new
                        yield new
                    left = [artifact for artifact in left if artifact.path not in made]
        except BaseException:
            cancel(list(made.values()))
            raise

    def _executor(self, kind: str, after: list[str]) -> AutoExecutor:
        resources = self._config.resources(kind)
        executor = AutoExecutor(self._config.submitit_folder, "slurm", slurm_max_num_timeout=resources.max_num_timeout)
        executor.update_parameters(**parameters(self._config, resources, f"{self._name}-{kind}", after))
        return executor

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (FailedJobError, FailedSubmissionError) as error:
            raise InputError(self._refused(str(error))) from error
        except OSError as error:
            raise InputError(
                f"cannot write to {self._config.submitit_folder} ({error.strerror}); set paths.outputs to a folder "
                "that all nodes share"
            ) from error

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
        alive = self._look()
        if alive is None:
            time.sleep(self._config.poll)
            return {}
        self._queue = alive
        gone = {path: job for path, job in self._jobs.items() if job not in alive}
        ends = ended(list(gone.values())) if gone else {}
        found = {}
        for path, job in gone.items():
            said = self._end(path, job, ends)
            if said is not None:
                found[path] = said
                del self._jobs[path]
        if not found:
            time.sleep(self._config.poll)
        return found

    def _look(self) -> dict[str, Queued] | None:
        try:
            alive = queued()
        except InputError as error:
            if not self._away:
                print(f"{error}; the jobs go on meanwhile, and this waits", flush=True)
            self._away = True
            return None
        if self._away:
            print("SLURM answers again", flush=True)
        self._away = False
        return alive

    def _end(self, path: Path, job: str, ends: Mapping[str, EndOfJob]) -> Ended | None:
        """How a job ended; None while its artifact's status, or the accounts, may still come."""
        log = self._log(job)
        status = self._artifacts[path].status()
        if status.get("state") == "complete":
            return Ended(log=log)
        if any(parent.path in self._jobs for parent in self._artifacts[path].parents.values()):
            return None  # it was cancelled because a parent failed, of which the reason is still to come
        waited = time.monotonic() - self._left.setdefault(job, time.monotonic())
        end = ends.get(job)
        if end is None or end.state in ("", "COMPLETED", "RUNNING", "PENDING", "REQUEUED", "COMPLETING"):
            if waited < GRACE:
                return None
            end = end or EndOfJob("", f"SLURM job {job} left the queue without a word")
        detail = end.detail
        if not Path(log).exists():
            detail += f", before it wrote a log: can its node write to {self._artifacts[path].outputs}?"
            log = ""
        return Ended("interrupted" if end.state in INTERRUPTED else "died", detail, log=log)

    def _log(self, job: str) -> str:
        return f"{self._config.submitit_folder.replace('%j', job)}/{job}_0_log.out"

    def waits(self, artifact: Artifact) -> str:
        job = self._queue.get(self._jobs.get(artifact.path, ""))
        return f"queued ({job.reason})" if job is not None and job.waits else ""

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
            try:
                answer = input(f"\ncancel the jobs, queued or running ({ids})? [y/N] ")
            except (KeyboardInterrupt, EOFError):
                answer = ""
        if answer.strip().lower() in ("y", "yes"):
            cancel(jobs)
            print("the jobs are cancelled", flush=True)
            return False
        print(f"the jobs go on; the same line watches them again, and scancel {ids} ends them", flush=True)
        return True


def _key(artifact: Artifact) -> str:
    return f"{artifact.kind}/{artifact.digest}"


def _read(folder: Path) -> dict[str, str]:
    """Return the jobs that were submitted for artifacts below the same outputs, by kind and digest."""
    file = folder / LEDGER
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InputError(
            f"{file} is damaged ({error}): which jobs are queued is not known; remove it when squeue --me shows none"
        ) from error
    return content
