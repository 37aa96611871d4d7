"""Artifacts: what a stage makes, in a directory named by a digest of exactly the values that determine it."""

import errno
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from rwtl.errors import InputError

STATUS = "status.json"
PACKAGES = ("rwtl", "torch", "pytorch-lightning", "brian2", "zarr", "numpy", "hydra-core")
# Raised when a stage's results change for the same configuration: older artifacts are then not taken for new ones.
FORMAT = {"recording": 2, "pretraining": 2, "training": 2, "evaluation": 2, "comparison": 2, "submission": 1}

_announced: set[Path] = set()  # what this process has said that it reuses: a run asks for its ancestors several times


@dataclass(frozen=True)
class Artifact:
    """A finished artifact.

    Args:
        path: its directory.
        kind: the stage that made it.
        digest: names it; equal digests mean equal determining values.
        reused: whether it was there already.
    """

    path: Path
    kind: str
    digest: str
    reused: bool

    def status(self) -> dict[str, Any]:
        """Return what was recorded of its making: configuration, parents, versions, commit, times."""
        return json.loads((self.path / STATUS).read_text())


def digest_of(kind: str, values: dict, parents: dict[str, str]) -> str:
    """Return the twelve hexadecimal digits of an artifact: a digest of its kind, values and parents' digests."""
    content = {"kind": kind, "format": FORMAT[kind], "values": _canonical(values), "parents": parents}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _canonical(value: Any) -> Any:
    """The same for 120 and 120.0, and for a list and a tuple."""
    if isinstance(value, dict):
        return {key: _canonical(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def build(
    outputs: Path,
    kind: str,
    label: str,
    values: dict,
    make: Callable[[Path], None],
    parents: dict[str, Artifact] | None = None,
    resumable: bool = False,
) -> Artifact:
    """Return the artifact of these values, making it only if it is not there yet.

    Args:
        outputs: folder of all artifacts; this one is `outputs`/`kind`/digest.
        kind: the stage.
        label: names the artifact to people.
        values: the configuration values that determine the result, and no others.
        make: fills the directory that it is given.
        parents: the artifacts that this one is made from, by role.
        resumable: whether `make` goes on with what an earlier job left unfinished in the directory; otherwise that is
            removed and made anew.

    A lock that dies with its process keeps a second job from making the same: it waits and reuses. Raises InputError
    where the folder cannot be written.
    """
    parent_digests = {role: parent.digest for role, parent in (parents or {}).items()}
    digest = digest_of(kind, values, parent_digests)
    path = outputs / kind / digest
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"{label}: another job is making {path}; waiting for it", flush=True)
            lock.acquire()
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot write to {path.parent} ({reason}); set paths.outputs to another folder") from error
    try:
        if _state(path) == "complete":
            if path not in _announced:
                print(f"{label}: reused {path}", flush=True)
            _announced.add(path)
            return Artifact(path, kind, digest, reused=True)
        print(f"{label}: making {path}", flush=True)
        _announced.add(path)
        if not resumable:
            shutil.rmtree(path, ignore_errors=True)
        _make(path, label, values, parent_digests, make)
    finally:
        lock.release()
    return Artifact(path, kind, digest, reused=False)


def _make(path: Path, label: str, values: dict, parents: dict[str, str], make: Callable[[Path], None]) -> None:
    path.mkdir(exist_ok=True)
    status = {"state": "running", "label": label, "values": values, "parents": parents, **provenance()}
    _write(path, status)
    try:
        make(path)
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
        reason = f"{type(error).__name__}: {error}"
        with suppress(OSError):  # on a full disk
            _write(path, status | {"state": "interrupted" if interrupted else "failed", "reason": reason})
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise InputError(f"{label}: cannot write to {path} ({error.strerror}); what is finished is kept") from error
        raise
    _write(path, status | {"state": "complete", "finished": _now()})


def _state(path: Path) -> str | None:
    file = path / STATUS
    return json.loads(file.read_text())["state"] if file.is_file() else None


def _write(path: Path, status: dict) -> None:
    """Write the status in one step: a reader sees the old or the new one, never half of it."""
    draft = path / (STATUS + ".draft")
    draft.write_text(json.dumps(status, indent=2) + "\n")
    os.replace(draft, path / STATUS)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def provenance() -> dict[str, Any]:
    """Return what makes a result here and now: time, host, command, versions, commit."""
    return {
        "started": _now(),
        "host": platform.node(),
        "pid": os.getpid(),
        "command": sys.argv,
        "python": platform.python_version(),
        "packages": {package: version(package) for package in PACKAGES},
        **_git(),
    }


@cache
def _git() -> dict[str, Any]:
    """The commit of rwtl's own checkout, or None where it is not one."""

    def git(*arguments: str) -> str | None:
        folder = Path(__file__).parent
        try:
            done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.strip()

    changes = git("status", "--porcelain")
    return {"git_commit": git("rev-parse", "HEAD"), "git_dirty": None if changes is None else bool(changes)}
