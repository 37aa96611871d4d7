"""The status of an artifact: a file that is read by any host while one job writes it."""

import json
import os
from pathlib import Path
from typing import Any

from rwtl.claim import holder_of
from rwtl.errors import InputError

STATUS = "status.json"
CLAIMS = "claims"


def state_of(path: Path) -> str:
    """Return `complete`, `running`, `interrupted`, `failed` or `missing`; of a job that died, `interrupted`."""
    status = read_status(path)
    if status is None:
        return "missing"
    if status["state"] == "running":
        held = holder_of(path / CLAIMS)
        return "interrupted" if held is None or held[1] else "running"
    return status["state"]


def read_status(path: Path) -> dict[str, Any] | None:
    """Return an artifact's status; None where there is none. One that is damaged is an InputError."""
    file = path / STATUS
    try:
        status = json.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise InputError(f"{file} is damaged ({error}); remove {path}, and it is made anew") from error
    if not isinstance(status, dict) or "state" not in status:
        raise InputError(f"{file} says no state; remove {path}, and it is made anew")
    return status


def is_complete(path: Path) -> bool:
    """Return whether an artifact is finished."""
    status = read_status(path)
    return status is not None and status["state"] == "complete"


def write_status(path: Path, status: dict) -> None:
    """Write the status in one step: a reader sees the old or the new one, never half of it."""
    draft = path / (STATUS + ".draft")
    with draft.open("w") as file:
        file.write(json.dumps(status, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path / STATUS)


def history(path: Path) -> list[dict[str, Any]]:
    """Return what is known of earlier jobs that a job goes on with: host, process, versions, commit, times, end."""
    before = read_status(path)
    if before is None:
        return []
    earlier = {key: value for key, value in before.items() if key not in ("label", "values", "parents", "history")}
    return [*before.get("history", []), earlier]
