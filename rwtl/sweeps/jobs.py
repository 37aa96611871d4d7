"""Jobs of a sweep: what each records of itself, how they stand, and the table that a sweep ends with."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.markup import escape
from rich.table import Column, Table

from rwtl.errors import InputError
from rwtl.files import write_json
from rwtl.pipeline.claim import Holder, this_process
from rwtl.pipeline.provenance import now
from rwtl.terminal import number, show

SWEEPS = "sweeps"


@dataclass
class JobRecord:
    """One job of a sweep, as its file `outputs/sweeps/<sweep>/<number>.json` has it.

    Args:
        number: its place in the sweep.
        overrides: all that the command line and the sweep set.
        log: the file that its output goes to; None where that is the terminal.
        state: `running`, `complete`, `failed`, `interrupted`, or `died` where a cluster's launcher says so.
        reused: whether all artifacts that it asked for were there already.
        artifacts: their folders in the order asked for, the job's own result last.
        reason: why it failed or was interrupted.
        value: what the experiment returned, where that is a finite number.
        host, process: who ran it; `process` holds the keys of `rwtl.pipeline.claim.Holder`.
        started, finished: UTC, ISO 8601.
    """

    number: int
    overrides: list[str]
    log: str | None = None
    state: str = "running"
    reused: bool = False
    artifacts: list[str] = field(default_factory=list)
    reason: str = ""
    value: float | None = None
    host: str = field(default_factory=lambda: this_process().host)
    process: dict[str, Any] = field(default_factory=lambda: asdict(this_process()))
    started: str = field(default_factory=now)
    finished: str | None = None


def sweep_folder(cfg: DictConfig) -> Path:
    """Return the folder of the records of the sweep that `cfg.sweep` names."""
    return Path(cfg.paths.outputs) / SWEEPS / cfg.sweep


def write_record(folder: Path, record: JobRecord) -> None:
    """Write a record whole, in place of an earlier one of the same number.

    Raises:
        InputError: The folder cannot be written from here.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / f"{record.number}.json", asdict(record))
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"cannot write to {folder} on {record.host} ({reason}); set paths.outputs to a folder that all machines of "
            "the sweep can write to"
        ) from error


def read_records(folder: Path) -> dict[int, JobRecord]:
    """Return all records of a sweep by number, in order; keys of another version of rwtl are left out."""
    known = {each.name for each in fields(JobRecord)}
    found = {}
    for file in _records(folder):
        content = json.loads(file.read_text())
        found[int(file.stem)] = JobRecord(**{key: value for key, value in content.items() if key in known})
    return dict(sorted(found.items()))


def remove_records(folder: Path) -> None:
    """Forget what an earlier run of the sweep recorded."""
    for file in _records(folder):
        file.unlink()


def _records(folder: Path) -> list[Path]:
    return [file for file in folder.glob("*.json") if file.stem.isdigit()]


SUCCEEDED = ("done", "reused")
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
        value = [number(state.value, ".4g", "-")] if values else []
        cells = [str(state.number), state.differs, state.state, *value, state.reason, _clock(state.seconds)]
        shown = [escape(cell) for cell in (*cells, state.where)]
        table.add_row(*shown, style=None if state.state in SUCCEEDED else "bold")
    show(table)
    counted = Counter(state.state for state in states)
    print(", ".join(f"{count} {state}" for state, count in counted.items()), flush=True)


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
