"""Waiting for SLURM jobs until each has said what it came to, or SLURM says how it ended."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from rwtl.errors import InputError
from rwtl.study.artifact import Step
from rwtl.study.artifact_status import is_complete, read_status
from rwtl.study.jobs import JobRecord, read_records, write_record
from rwtl.study.provenance import now
from rwtl.study.slurm_ledger import Ledger
from rwtl.study.slurm_plan import Plan
from rwtl.study.slurm_queue import Ended, Queued, ended, queued

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
        upstream = [digest for digest in self.plan.jobs[number].needs if digest in self.failed]
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
        step = self.plan.upstream.get(digest)
        if step is None or is_complete(step.path):
            return True
        end = self._end(job, ends)
        if end is None:
            return False
        lacking = [parent for parent in self.plan.ancestors[digest] if parent in self.failed]
        why = (
            self.failed[lacking[0]]
            if lacking
            else f"{step.label}: {self._reason(step, end)}; its log is {self.log(job)}"
        )
        self.failed[digest] = why
        if not lacking:
            print(f"sweep {self.name}: {why}", file=sys.stderr, flush=True)
        return True

    def _reason(self, step: Step, end: Ended) -> str:
        status = read_status(step.path) or {}
        failed = status.get("state") == "failed"
        return status["reason"].removeprefix("InputError: ") if failed else end.detail

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
