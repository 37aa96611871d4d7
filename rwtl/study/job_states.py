"""How the jobs of a sweep stand, and the table that a sweep ends with."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from rwtl.claim import Holder
from rwtl.study.jobs import JobRecord

SUCCEEDED = ("done", "reused")
WIDTH = 160  # characters, in a log file, where there is no terminal to ask
REASON = 100  # characters of a reason that are shown; the job's log has all
_STATES = {"complete": "done", "failed": "failed", "interrupted": "interrupted", "died": "died"}


@dataclass(frozen=True)
class JobState:
    """A job as the table shows it.

    Args:
        number, differs: which job, and the overrides that not all jobs share.
        state: `done`, `reused`, `failed`, `interrupted`, `died`, `running` or `not started`.
        reason: why it did not succeed, in one line.
        seconds: its time; None unless it ended.
        where: the log of a job that did not succeed, if it has one; else its result's folder.
        value: what the experiment returned.
    """

    number: int
    differs: str
    state: str
    reason: str = ""
    seconds: float | None = None
    where: str = ""
    value: float | None = None


def job_states(jobs: dict[int, Sequence[str]], records: dict[int, JobRecord], ended: bool) -> list[JobState]:
    """Return how jobs stand.

    Args:
        jobs: the overrides of each job, by number.
        records: what jobs recorded, by number; none of an earlier run of the sweep.
        ended: whether the launcher says that all jobs have ended, so that a record that still says `running` is of a
            job that died. Otherwise a job of another machine may still run.
    """
    differences = _differences(jobs)
    return [_state(number, differences[number], records.get(number), ended) for number in jobs]


def _state(number: int, differs: str, record: JobRecord | None, ended: bool) -> JobState:
    if record is None:
        return JobState(number, differs, "not started")
    result = record.artifacts[-1] if record.artifacts else ""
    if record.state == "running":
        if ended:
            why = f"process {record.process.get('pid')} on {record.host} ended without a word: killed, or out of memory"
            return JobState(number, differs, "died", why, where=record.log or "")
        dead = Holder(**record.process).dead()  # one with a log of its own goes on when who launched it is interrupted
        goes_on = dead is None or (dead is False and record.log is not None)
        return JobState(number, differs, "running" if goes_on else "interrupted", where=record.log or "")
    seconds = _seconds(record)
    if record.state == "complete":
        state = "reused" if record.reused else "done"
        return JobState(number, differs, state, "", seconds, result, record.value)
    reason = (record.reason.splitlines() or [""])[0]
    reason = reason if len(reason) <= REASON else f"{reason[: REASON - 1]}…"
    return JobState(number, differs, _STATES[record.state], reason, seconds, record.log or "")


def _seconds(record: JobRecord) -> float | None:
    if record.finished is None:
        return None
    return (datetime.fromisoformat(record.finished) - datetime.fromisoformat(record.started)).total_seconds()


def _differences(jobs: dict[int, Sequence[str]]) -> dict[int, str]:
    shared = set.intersection(*(set(overrides) for overrides in jobs.values())) if jobs else set()
    return {number: " ".join(each for each in overrides if each not in shared) for number, overrides in jobs.items()}


def print_table(name: str, states: Sequence[JobState], values: bool = False) -> None:
    """Print how the jobs of a sweep ended, one line for each, and how many of each state there are.

    Args:
        name: the sweep's.
        states: of its jobs.
        values: whether to show what the experiment returned.
    """
    columns = [Column("job", justify="right"), "differs in", Column("state", no_wrap=True)]
    columns += [Column("value", justify="right")] if values else []
    columns += ["reason", Column("time", justify="right", no_wrap=True), Column("log or result", overflow="fold")]
    table = Table(*columns, title=f"sweep {name}")
    for state in states:
        value = ["-" if state.value is None else f"{state.value:.4g}"] if values else []
        cells = [str(state.number), state.differs, state.state, *value, state.reason, _clock(state.seconds)]
        shown = [escape(cell) for cell in (*cells, state.where)]
        table.add_row(*shown, style=None if state.state in SUCCEEDED else "bold")
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)
    counted = Counter(state.state for state in states)
    print(", ".join(f"{count} {state}" for state, count in counted.items()), flush=True)


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
