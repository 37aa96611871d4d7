"""A sweep on a SLURM cluster: its jobs are submitted through submitit and followed to their end."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn
from omegaconf import DictConfig, open_dict
from submitit import AutoExecutor
from submitit.core.utils import FailedJobError, FailedSubmissionError

from rwtl.errors import InputError
from rwtl.pipeline.artifact import Artifact, reason_of
from rwtl.pipeline.provenance import now
from rwtl.sections import typed
from rwtl.sweeps.jobs import JobRecord, read_records, sweep_folder, write_record
from rwtl.sweeps.slurm_config import SlurmConfig, parameters
from rwtl.sweeps.slurm_plan import Ledger, Plan, StageJob, plan_jobs
from rwtl.sweeps.slurm_queue import Ended, Queued, cancel, command, ended, queued, require_controller
from rwtl.sweeps.sweep import Jobs, launch


def submit(
    config: SlurmConfig, plan: Plan, run: Callable[..., Any], arguments: Mapping[int, tuple], ledger: Ledger
) -> Ledger:
    """Submit what is missing upstream, and the jobs of a plan so that each begins when what it needs is there.

    Jobs that need the same, and make results of one kind, are one array.

    Args:
        config: what is asked for.
        plan: jobs and upstream. Those that the ledger knows are not submitted again.
        run: what a job calls.
        arguments: with which, by number.
        ledger: the SLURM jobs that are queued already.

    Returns:
        The jobs that were submitted.

    Raises:
        InputError: SLURM refuses one; then all that were submitted here are cancelled.
    """
    made = Ledger()
    try:
        with _readable(config):
            for digest, artifact in plan.upstream.items():
                if digest not in ledger.upstream:
                    after = _known(plan.ancestors[digest], ledger, made)
                    executor = _executor(config, artifact.kind, f"{config.name}-{artifact.kind}", after)
                    made.upstream[digest] = executor.submit(StageJob(artifact)).job_id
            for (kind, needs), numbers in _groups(plan, ledger).items():
                executor = _executor(config, kind, config.name, _known(needs, ledger, made))
                jobs = executor.map_array(run, *zip(*(arguments[number] for number in numbers), strict=True))
                made.jobs |= {number: job.job_id for number, job in zip(numbers, jobs, strict=True)}
    except BaseException:
        cancel([*made.upstream.values(), *made.jobs.values()])
        raise
    return made


def _groups(plan: Plan, ledger: Ledger) -> dict[tuple[str | None, frozenset[str]], list[int]]:
    groups: dict[tuple[str | None, frozenset[str]], list[int]] = {}
    for number, kind in plan.jobs.items():
        if number not in ledger.jobs:
            groups.setdefault((kind, plan.needs[number]), []).append(number)
    return groups


def _known(digests: Iterable[str], *ledgers: Ledger) -> list[str]:
    """The SLURM jobs that make artifacts."""
    return [ledger.upstream[digest] for ledger in ledgers for digest in sorted(digests) if digest in ledger.upstream]


def _executor(config: SlurmConfig, kind: str | None, name: str, after: list[str]) -> AutoExecutor:
    resources = config.resources(kind)
    executor = AutoExecutor(config.submitit_folder, "slurm", slurm_max_num_timeout=resources.max_num_timeout)
    executor.update_parameters(**parameters(config, resources, name, after))
    return executor


@contextmanager
def _readable(config: SlurmConfig) -> Iterator[None]:
    try:
        yield
    except (FailedJobError, FailedSubmissionError) as error:
        raise InputError(_refused(str(error))) from error
    except OSError as error:
        raise InputError(
            f"cannot write to {config.submitit_folder} ({error.strerror}); set paths.outputs to a folder that all "
            "nodes share"
        ) from error


def _refused(message: str) -> str:
    said = " ".join(line.removeprefix("sbatch: error: ") for line in message.splitlines() if line.strip())
    remedy = ""
    if "partition" in said:
        partitions = sorted(set(command("sinfo", "--noheader", "--format=%R").split()))
        remedy = f"; hydra.launcher.partition is one of {', '.join(partitions)}"
    if "ccount" in said:
        remedy += "; set hydra.launcher.account to one that you may use (sacctmgr show associations user=$USER)"
    return f"SLURM refuses a job, and nothing was submitted: {said}{remedy}"


GRACE = 60.0  # s for records and accounts to arrive after a job has left the queue
REMIND = 600.0  # s between lines where nothing changes
INTERRUPTED = ("CANCELLED", "PREEMPTED")


class Watch:
    """Follows jobs to their end.

    Args:
        name: the sweep's.
        folder: of its records.
        ledger: its SLURM jobs.
        plan: what the jobs need.
        log: the file of a SLURM job's output.
        poll: time between looks, s.
    """

    def __init__(self, name: str, folder: Path, ledger: Ledger, plan: Plan, log: Callable[[str], Path], poll: float):
        self.name, self.folder, self.ledger, self.plan = name, folder, ledger, plan
        self.log, self.poll = log, poll
        self.failed: dict[str, str] = {}  # what could not be made upstream, and why
        self._left: dict[str, float] = {}  # when a job was first seen to have left the queue
        self._said, self._said_at = "", time.monotonic()
        self._away = False

    def follow(self) -> None:
        """Return when all jobs have ended; those that did not say how have a record that does."""
        jobs, upstream = dict(self.ledger.jobs), dict(self.ledger.upstream)
        while jobs or upstream:
            alive = self._queue()
            if alive is not None:
                gone = [job for job in (*jobs.values(), *upstream.values()) if job not in alive]
                ends = ended(gone) if gone else {}
                for digest in [digest for digest, job in upstream.items() if job in gone]:
                    if self._settle_upstream(digest, upstream[digest], ends):
                        del upstream[digest]
                records = read_records(self.folder)
                for number in [number for number, job in jobs.items() if job in gone]:
                    if self._settle(number, jobs[number], ends, records.get(number)):
                        del jobs[number]
                self._report(jobs, upstream, alive)
            if jobs or upstream:
                time.sleep(self.poll)

    def _queue(self) -> dict[str, Queued] | None:
        try:
            alive = queued()
        except InputError as error:
            if not self._away:
                print(f"sweep {self.name}: {error}; the jobs go on meanwhile, and this waits", flush=True)
            self._away = True
            return None
        if self._away:
            print(f"sweep {self.name}: SLURM answers again", flush=True)
        self._away = False
        return alive

    def _settle(self, number: int, job: str, ends: Mapping[str, Ended], record: JobRecord | None) -> bool:
        """Return whether a job that left the queue has an end that its record tells."""
        if record is not None and record.state in ("complete", "failed"):
            return True
        end = self._end(job, ends)
        if end is None:
            return False
        upstream = [digest for digest in self.plan.needs[number] if digest in self.failed]
        log = str(self.log(job)) if self.log(job).exists() else None
        if record is None:
            record = JobRecord(number, self.ledger.overrides[number], log, host="", process={})
            if upstream:
                record.reason = f"what it needs was not made: {self.failed[upstream[0]]}"
            elif log is None:
                record.reason = f"{end.detail}, before it wrote a log: can its node write to {self.folder}?"
        record.reason = record.reason or end.detail
        if record.state == "interrupted" and end.detail not in record.reason:
            record.reason = f"{record.reason}; {end.detail}"
        if record.state == "running":
            record.state = "failed" if upstream else "interrupted" if end.state in INTERRUPTED else "died"
        record.finished = record.finished or now()
        write_record(self.folder, record)
        return True

    def _settle_upstream(self, digest: str, job: str, ends: Mapping[str, Ended]) -> bool:
        artifact = self.plan.upstream.get(digest)
        if artifact is None or artifact.state() == "complete":
            return True
        end = self._end(job, ends)
        if end is None:
            return False
        lacking = [parent for parent in self.plan.ancestors[digest] if parent in self.failed]
        why = (
            self.failed[lacking[0]]
            if lacking
            else f"{artifact.label}: {self._reason(artifact, end)}; its log is {self.log(job)}"
        )
        self.failed[digest] = why
        if not lacking:
            print(f"sweep {self.name}: {why}", file=sys.stderr, flush=True)
        return True

    def _reason(self, artifact: Artifact, end: Ended) -> str:
        status = artifact.status()
        return reason_of(status) if status.get("state") == "failed" else end.detail

    def _end(self, job: str, ends: Mapping[str, Ended]) -> Ended | None:
        """How a job ended; None while its record, or the accounts, may still come."""
        waited = time.monotonic() - self._left.setdefault(job, time.monotonic())
        end = ends.get(job)
        if end is not None and end.state not in ("", "COMPLETED", "RUNNING", "PENDING", "REQUEUED", "COMPLETING"):
            return end
        if waited < GRACE:
            return None
        return end or Ended("", f"SLURM job {job} left the queue without a word")

    def _report(self, jobs: Mapping[int, str], upstream: Mapping[str, str], alive: Mapping[str, Queued]) -> None:
        waiting = Counter(alive[job].waits for job in jobs.values() if job in alive)
        above = Counter(alive[job].waits for job in upstream.values() if job in alive)
        ended_jobs = len(self.ledger.jobs) - len(jobs)
        line = f"jobs: {waiting[True]} waiting, {waiting[False]} running, {ended_jobs} of {len(self.ledger.jobs)} ended"
        if self.ledger.upstream:
            every = len(self.ledger.upstream)
            made = every - len(upstream)
            line += f" · upstream: {above[True]} waiting, {above[False]} running, {made} of {every} ended"
        if line != self._said or time.monotonic() - self._said_at > REMIND:
            print(f"sweep {self.name}: {time.strftime('%H:%M:%S')} {line}", flush=True)
            self._said, self._said_at = line, time.monotonic()


def launch_on_slurm(launcher: Any, jobs: Jobs) -> list[JobReturn]:
    """Launch jobs, and return when all have ended; what they came to is in the sweep's records.

    Jobs that have nothing to make, or whose configuration is bad, run here and now. Those that an earlier start of the
    same sweep has left in the queue are not submitted again.

    Args:
        launcher: Hydra's SlurmLauncher, set up.
        jobs: overrides by number.

    Raises:
        InputError: A setting is wrong, there is no SLURM here, or it refuses a job; nothing is left in the queue then.
    """
    cfg = launcher.config
    config = typed(SlurmConfig, launcher.params, "hydra.launcher")
    folder, name = sweep_folder(cfg), cfg.sweep
    stage = getattr(launcher.task_function, "stage", None)
    plan = plan_jobs(stage, {number: _composed(launcher, job) for number, job in jobs.items()})
    if plan.here:
        print(f"sweep {name}: {len(plan.here)} of {len(jobs)} jobs have nothing to make and run here", flush=True)
        here = BasicLauncher()
        here.setup(hydra_context=launcher.hydra_context, task_function=launcher.task_function, config=cfg)
        launch(here, {number: jobs[number] for number in plan.here}, folder)
    if not plan.jobs:
        return []

    require_controller()
    alive = Ledger.read(folder).alive(queued(), {number: jobs[number] for number in plan.jobs})
    arguments = {number: _arguments(number, jobs[number]) for number in plan.jobs}
    made = submit(config, plan, launcher, arguments, alive)
    ledger = Ledger(
        alive.jobs | made.jobs, alive.upstream | made.upstream, {number: jobs[number] for number in plan.jobs}
    )
    try:
        ledger.write(folder)
        print(
            f"sweep {name}: {len(made.jobs)} jobs submitted, {len(made.upstream)} for what they need; "
            f"{len(alive.jobs) + len(alive.upstream)} were in the queue. Logs: {config.submitit_folder}",
            flush=True,
        )
        Watch(name, folder, ledger, plan, lambda job: _log(config.submitit_folder, job), config.poll).follow()
    except KeyboardInterrupt as interrupt:
        _leave(name, [*ledger.jobs.values(), *ledger.upstream.values()], ask=not str(interrupt))
        raise
    return []


def _composed(launcher: Any, overrides: list[str]) -> DictConfig:
    cfg = launcher.hydra_context.config_loader.load_sweep_config(launcher.config, overrides)
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


def _arguments(number: int, overrides: list[str]) -> tuple:
    """What SlurmLauncher calls itself with on the cluster."""
    return overrides, "hydra.sweep.dir", number, f"job_id_for_{number}", Singleton.get_state()


def _log(folder: str, job: str) -> Path:
    return Path(folder.replace("%j", job)) / f"{job}_0_log.out"


def _leave(name: str, jobs: Collection[str], ask: bool) -> None:
    """Ask whether to cancel jobs, where there is somebody to ask; otherwise they go on."""
    ids = " ".join(sorted({job.split("_")[0] for job in jobs}, key=int))
    answer = ""
    if ask and sys.stdin.isatty():
        try:
            answer = input(f"\nsweep {name}: cancel its jobs, queued or running ({ids})? [y/N] ")
        except (KeyboardInterrupt, EOFError):
            answer = ""
    if answer.strip().lower() in ("y", "yes"):
        cancel(jobs)
        print(f"sweep {name}: its jobs are cancelled", flush=True)
    else:
        print(
            f"sweep {name}: its jobs go on; the same line watches them again, and scancel {ids} ends them", flush=True
        )
