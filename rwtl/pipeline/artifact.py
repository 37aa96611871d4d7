"""The status of an artifact: a file that is read by any host while one job writes it."""

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from rwtl.config import resolved_yaml
from rwtl.errors import InputError
from rwtl.pipeline.claim import POLL, SKEW, Claim, Holder, claim, clock_difference, holder_of
from rwtl.pipeline.provenance import now, provenance

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


REMIND = 60.0  # s between messages


class Waiting:
    """Says whom a job waits for, at first and now and then."""

    def __init__(self, label: str, path: Path):
        self.label, self.path = label, path
        self.since = time.monotonic()
        self.said: float | None = None
        self.skew_said = False

    def __call__(self, holder: Holder | None, silence: float) -> None:
        if holder is None:
            return
        clock = time.monotonic()
        if self.said is None:
            print(f"{self.label}: {holder} is making {self.path}; waiting for it", flush=True)
            self.said = clock
        elif clock - self.said > REMIND:
            print(
                f"{self.label}: has waited {clock - self.since:.0f} s for {holder} to make {self.path}; its last sign "
                f"of life was {silence:.0f} s ago",
                flush=True,
            )
            self.said = clock
        elif 0 < silence < 2 * POLL and not self.skew_said:
            self._say_skew(holder)

    def _say_skew(self, holder: Holder) -> None:
        difference = clock_difference(self.path / CLAIMS)
        if abs(difference) > SKEW:
            self.skew_said = True
            print(
                f"{self.label}: the clock of {holder.host} or of the file server is {abs(difference):.0f} s "
                f"{'ahead of' if difference > 0 else 'behind'} this host's: times of artifacts will not compare. "
                "Claims do not depend on clocks",
                flush=True,
            )


CONFIG = "config.yaml"
# Raised when a stage's results change for the same configuration: older artifacts are then not taken for new ones.
FORMAT = {"recording": 2, "pretraining": 2, "training": 2, "evaluation": 2, "comparison": 3, "submission": 1}

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
        """Return what was recorded of its making: values, parents, versions, commit, host, times."""
        return read_status(self.path) or {}


@dataclass(frozen=True)
class Step:
    """An artifact that a run needs, as it stands.

    Args:
        kind, digest, path, label: which it is.
        state: `complete`, `running` (somebody makes it), `interrupted`, `failed` or `missing`.
        parents: digests of the artifacts that it is made from.
        config: the whole configuration that it is made of.
    """

    kind: str
    digest: str
    path: Path
    label: str
    state: str
    parents: tuple[str, ...]
    config: DictConfig | None = field(default=None, compare=False, repr=False)


class Reached(Exception):
    """Raised when the artifact is there that `until` named."""

    def __init__(self, artifact: Artifact):
        super().__init__(artifact.path)
        self.artifact = artifact


BUILT: list[Artifact] = []  # what this process has asked for, reused or made, in order; a job clears it at its start
_steps: ContextVar[list[Step] | None] = ContextVar("steps", default=None)
_target: ContextVar[str | None] = ContextVar("target", default=None)


@contextmanager
def planning() -> Iterator[list[Step]]:
    """Within it `build` makes nothing, and adds to the list what it would reuse or make."""
    token = _steps.set(steps := [])
    try:
        yield steps
    finally:
        _steps.reset(token)


def is_planning() -> bool:
    """Return whether an artifact that `build` returned may not be there."""
    return _steps.get() is not None


@contextmanager
def until(digest: str) -> Iterator[None]:
    """Within it `build` raises Reached when the artifact of this digest is there."""
    token = _target.set(digest)
    try:
        yield
    finally:
        _target.reset(token)


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
    config: DictConfig | None = None,
) -> Artifact:
    """Return the artifact of these values, making it only if it is not there yet.

    Args:
        outputs: folder of all artifacts, which several hosts may share; this one is `outputs`/`kind`/digest.
        kind: the stage.
        label: names the artifact to people.
        values: the configuration values that determine the result, and no others.
        make: fills the directory that it is given.
        parents: the artifacts that this one is made from, by role.
        resumable: whether `make` goes on with what an earlier job left unfinished in the directory; otherwise that is
            removed and made anew.
        config: the whole configuration, kept beside the result as `config.yaml`.

    The process that makes it holds its claim (`rwtl.pipeline.claim`); a second one that needs the same waits and
    reuses, and says whom it waits for. What a dead job left is taken over. Raises InputError where the folder cannot be
    written.
    """
    parent_digests = {role: parent.digest for role, parent in (parents or {}).items()}
    digest = digest_of(kind, values, parent_digests)
    path = outputs / kind / digest
    if is_planning():
        state = state_of(path)
        _steps.get().append(Step(kind, digest, path, label, state, tuple(parent_digests.values()), config))
        return _asked(Artifact(path, kind, digest, reused=state == "complete"))
    try:
        held = claim(path / CLAIMS, lambda: is_complete(path), Waiting(label, path))
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot write to {path.parent} ({reason}); set paths.outputs to another folder") from error
    if held is None:
        if path not in _announced:
            print(f"{label}: reused {path}", flush=True)
    else:
        print(f"{label}: making {path}", flush=True)
        status = {"label": label, "kind": kind, "format": FORMAT[kind], "values": values, "parents": parent_digests}
        _make(path, label, status, make, held, resumable, config)
    _announced.add(path)
    return _asked(Artifact(path, kind, digest, reused=held is None))


def _asked(artifact: Artifact) -> Artifact:
    if not is_planning():
        BUILT.append(artifact)
        if artifact.digest == _target.get():
            raise Reached(artifact)
    return artifact


def _make(
    path: Path,
    label: str,
    status: dict[str, Any],
    make: Callable[[Path], None],
    held: Claim,
    resumable: bool,
    config: DictConfig | None,
) -> None:
    status = {"state": "running", **status, **provenance(), "history": history(path) if resumable else []}
    finished = False
    try:
        if not resumable:
            _empty(path)
        write_status(path, status)
        if config is not None:
            (path / CONFIG).write_text(resolved_yaml(config))
        make(path)
        held.finish(lambda: write_status(path, status | {"state": "complete", "finished": now()}))
        finished = True
    except BaseException as error:
        if held.lost and isinstance(error, KeyboardInterrupt):
            raise InputError(held.lost_message()) from error
        interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
        reason = f"{type(error).__name__}: {error}"
        if not held.lost:
            with suppress(OSError):  # on a full disk
                ended = {"state": "interrupted" if interrupted else "failed", "reason": reason, "finished": now()}
                write_status(path, status | ended)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise InputError(f"{label}: cannot write to {path} ({error.strerror}); what is finished is kept") from error
        raise
    finally:
        if not finished and not held.lost:
            held.release()


def _empty(path: Path) -> None:
    for entry in path.iterdir():
        if entry.is_dir() and entry.name != CLAIMS:
            shutil.rmtree(entry)
        elif not entry.is_dir():
            entry.unlink()
