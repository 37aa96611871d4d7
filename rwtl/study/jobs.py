"""Records of a sweep's jobs: what a job writes of itself, so that the sweep's end need not trust who launched it."""

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from rwtl.claim import this_process
from rwtl.errors import InputError
from rwtl.study.provenance import now

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
        host, process: who ran it; `process` holds the keys of `rwtl.claim.Holder`.
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
    draft = folder / f".{record.number}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(asdict(record), indent=2) + "\n")
        os.replace(draft, _record(folder, record.number))
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


def _record(folder: Path, number: int) -> Path:
    return folder / f"{number}.json"


def _records(folder: Path) -> list[Path]:
    return [file for file in folder.glob("*.json") if file.stem.isdigit()]
