"""Where an artifact is, by a digest of what determines it, and what its `status.json` says of it: a file that any host
may read while a job writes it."""

import hashlib
import json
import os
import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, StringConstraints

from rwtl import files
from rwtl.errors import Damaged
from rwtl.pipeline.claim import CLAIMS, Holder, holder_of

# Raised when a stage's results change for the same configuration: older artifacts are then not taken for new ones.
FORMAT = {"recording": 2, "pretraining": 2, "training": 2, "evaluation": 2, "comparison": 4, "submission": 1}

UNFINISHED = "unfinished"  # the folder, below the outputs, of what is being made


def _time(text: str) -> str:
    """Check a time, which must say its zone."""
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("the time has no zone")
    return text


Time = Annotated[str, AfterValidator(_time)]
DIGEST = "[0-9a-f]{12}"  # the name of an artifact's folder
Digest = Annotated[str, StringConstraints(pattern=f"^{DIGEST}$")]
State = Literal["complete", "running", "interrupted", "failed"]
STATES = get_args(State)


class Job(BaseModel, strict=True, extra="allow"):
    """What a status holds of a job, as far as anything reads it."""

    state: State
    reason: str = ""
    started: Time | None = None
    finished: Time | None = None
    command: list[str] = []
    git_commit: str | None = None
    slurm_job: str | None = None


class Status(Job, files.Recorded):
    """What a status holds of an artifact, as far as anything reads it."""

    label: str = ""
    kind: str = ""
    format: int = 0
    values: dict[str, Any] = {}
    parents: dict[str, Digest] = {}
    history: list[Job] = []


def digest_of(kind: str, values: dict, parents: dict[str, str]) -> str:
    """Return the digest of an artifact's kind, values and parents' digests."""
    content = {"kind": kind, "format": FORMAT[kind], "values": _canonical(values), "parents": parents}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _canonical(value: Any) -> Any:
    """The same for 120 and 120.0, and for a list and a tuple."""
    if isinstance(value, dict):
        return {key: _canonical(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def unfinished(path: Path) -> Path:
    """Return the folder that holds an artifact's claims and attempts until it is finished."""
    return path.parents[1] / UNFINISHED / path.parent.name / path.name


def claims_of(path: Path) -> Path:
    """Return the folder of the claims of an artifact."""
    return unfinished(path) / CLAIMS


def maker_of(path: Path) -> tuple[Holder, bool | None, float] | None:
    """Return who makes an artifact, as `holder_of` does; with an earlier version of rwtl, it does so in its folder."""
    return holder_of(claims_of(path)) or holder_of(path / CLAIMS)


def folder_of(path: Path) -> Path:
    """Return where the files of an artifact are: its own folder when it is finished, else the newest attempt's."""
    return path if os.path.lexists(path) else newest_attempt(path) or path


def newest_attempt(path: Path) -> Path | None:
    """Return the folder of the newest attempt to make an artifact that has a status; None where there is none."""
    try:
        begun = [each for each in unfinished(path).iterdir() if os.path.lexists(each / files.STATUS)]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Damaged(f"{unfinished(path)} cannot be read ({error.strerror}); mend or remove it") from error
    return max((each for each in begun if _number(each) >= 0), key=_number, default=None)


def _number(attempt: Path) -> int:
    number = attempt.name.partition("-")[0]
    return int(number) if number.isascii() and number.isdigit() else -1


def state_of(path: Path) -> str:
    """Return `complete`, `running`, `interrupted`, `failed` or `missing`; of a job that died, `interrupted`."""
    status = read_status(path)
    if status is None:
        return "missing"
    if status["state"] == "running":
        held = maker_of(path)
        return "interrupted" if held is None or held[1] else "running"
    return status["state"]


def read_status(path: Path) -> dict[str, Any] | None:
    """Return an artifact's status, or its newest attempt's; None where there is none.

    Raises Damaged where it cannot be read, has a value of another type than is written, or is another artifact's.
    """
    return _status_in(folder_of(path), path)


def is_complete(path: Path) -> bool:
    """Return whether an artifact is finished. Raises Damaged as `read_status` does."""
    status = _status_in(path, path)
    return status is not None and status["state"] == "complete"


def _status_in(folder: Path, path: Path) -> dict[str, Any] | None:
    """Return the status in a folder, which is to be the artifact's of a path."""
    remedy = f"remove {folder}, and it is made anew"
    read = files.read_checked(folder / files.STATUS, Status, remedy)
    if read is None:
        return None
    kind = path.parent.name
    if kind in FORMAT and read.kind in FORMAT and re.fullmatch(DIGEST, path.name):
        own = path.name if read.format != FORMAT[read.kind] else digest_of(read.kind, read.values, read.parents)
        if (read.kind, own) != (kind, path.name):
            other = f"{read.kind}/{own}"
            raise Damaged(f"{folder / files.STATUS} is damaged (it is of another artifact, {other}); {remedy}")
    return read.model_dump(exclude_unset=True)


def write_status(path: Path, status: dict) -> None:
    """Write the status in one step."""
    files.write_json(path / files.STATUS, status)


def reason_of(status: dict[str, Any]) -> str:
    """Return why an artifact is not complete; an empty text where its status does not say."""
    return status.get("reason", "").removeprefix("InputError: ")


def history(path: Path) -> list[dict[str, Any]]:
    """Return what is known of earlier jobs that a job goes on with: host, process, versions, commit, times, end."""
    try:
        before = read_status(path)
    except Damaged as error:  # which says nothing of what the job left, and the job goes on from that
        return [{"state": "failed", "reason": str(error)}]
    if before is None:
        return []
    earlier = {key: value for key, value in before.items() if key not in ("label", "values", "parents", "history")}
    return [*before.get("history", []), earlier]
