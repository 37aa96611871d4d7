"""Artifacts: what a stage makes, in a folder named by a digest of exactly the values that determine it.

A stage returns an `Artifact`, which says what would be made and from what; `build` makes it. The status of an artifact
is a file that any host may read while one job writes it.
"""

import errno
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig

from rwtl import files
from rwtl.config import resolved_yaml
from rwtl.errors import InputError
from rwtl.pipeline.claim import POLL, SKEW, Claim, Holder, claim, clock_difference, holder_of
from rwtl.pipeline.provenance import now, provenance
from rwtl.progress import told

CLAIMS = "claims"
A = TypeVar("A", bound="Artifact")


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
    file = path / files.STATUS
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
    """Write the status in one step."""
    files.write_json(path / files.STATUS, status)


def reason_of(status: dict[str, Any]) -> str:
    """Return why an artifact is not complete; an empty text where its status does not say."""
    return status.get("reason", "").removeprefix("InputError: ")


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


@contextmanager
def alone(folder: Path, label: str) -> Iterator[None]:
    """Let one process at a time be within it, of all that name this folder; the others wait, and say for whom.

    Raises InputError where the folder cannot be written.
    """
    with writable(folder):
        held = claim(folder / CLAIMS, lambda: False, Waiting(label, folder))
    try:
        yield
    except BaseException:
        held.release()
        raise
    held.finish(lambda: None)


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Turn what the system says of a folder that cannot be written into an InputError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot write to {folder} ({reason}); set paths.outputs to another folder") from error


# Raised when a stage's results change for the same configuration: older artifacts are then not taken for new ones.
FORMAT = {"recording": 2, "pretraining": 2, "training": 2, "evaluation": 2, "comparison": 4, "submission": 1}

_announced: set[Path] = set()  # what this process has said that it reuses: several artifacts may have one parent


@dataclass(frozen=True, eq=False)
class Artifact:
    """What a stage makes: a plan, which `build` carries out where that has not been done yet.

    Args:
        kind: the stage.
        label: names the artifact to people.
        values: the configuration values that determine the result, and no others.
        make: fills the folder that it is given, when the parents are complete.
        outputs: folder of all artifacts, which several hosts may share.
        parents: the artifacts that this one is made from, by role.
        resumable: whether `make` resumes what an earlier job left unfinished in the folder; otherwise that is removed
            and made anew.
        config: the whole configuration, kept beside the result as `config.yaml`.
        check: is called with the folder of a finished artifact before it is reused, and raises InputError where it is
            damaged.
        here: whether it takes seconds, so that whoever schedules many artifacts makes it, and hands it to no other.
        without: returns what can be made in its place where some parents could not be made, of those parents' folders
            with the reasons; None where nothing can.
        reused: whether it was there already; None for a plan that `build` has not seen.
        found: the digest of an artifact that was found on disk, which cannot be made again from here.
    """

    kind: str
    label: str
    values: dict[str, Any] = field(repr=False)
    make: Callable[[Path], None] = field(repr=False)
    outputs: Path
    parents: dict[str, "Artifact"] = field(default_factory=dict, repr=False)
    resumable: bool = False
    config: DictConfig | None = field(default=None, repr=False)
    check: Callable[[Path], Any] = field(default=lambda folder: None, repr=False)
    here: bool = False
    without: "Callable[[Mapping[Path, str]], Artifact] | None" = field(default=None, repr=False)
    reused: bool | None = None
    found: str | None = None

    @classmethod
    def at(cls, folder: Path) -> "Artifact":
        """Return the artifact in a folder outputs/kind/digest. It can be read, and be a parent, but not be made."""

        def refuse(_: Path) -> None:
            raise InputError(f"{folder} is not complete, and only who planned it can make it; run its command again")

        return cls(folder.parent.name, str(folder), {}, refuse, folder.parents[1], found=folder.name)

    @cached_property
    def digest(self) -> str:
        """Twelve hexadecimal digits that name the artifact; equal digests mean equal determining values."""
        digests = {role: parent.digest for role, parent in self.parents.items()}
        return self.found or digest_of(self.kind, self.values, digests)

    @property
    def path(self) -> Path:
        """The folder of the artifact, which need not be there: `outputs`/`kind`/digest."""
        return self.outputs / self.kind / self.digest

    def state(self) -> str:
        """Return `complete`, `running` (another process makes it), `interrupted`, `failed` or `missing`."""
        return state_of(self.path)

    def file(self, name: str) -> Path:
        """Return the path of one of the artifact's files, of `rwtl.files`; raise InputError before it is complete."""
        if not is_complete(self.path):
            raise InputError(f"{self.label} is {self.state()}, not complete; make it with rwtl.build: {self.path}")
        return self.path / name

    def status(self) -> dict[str, Any]:
        """Return what was recorded of its making: values, parents, versions, commit, host, times."""
        return read_status(self.path) or {}

    @property
    def headline(self) -> str:
        """What came out, in one line; an empty text where there is nothing to say."""
        return ""

    def show(self) -> None:
        """Print what came out, and where it is."""
        print("\n".join(filter(None, [self.headline, f"{self.kind}: {self.path}"])))

    @property
    def objective(self) -> float:
        """The number that a search of hyper-parameters minimises.

        Raises InputError for artifacts of which none is.
        """
        raise InputError(
            f"a {self.kind} has no number that a search could minimise; search with pretrain, train or evaluate"
        )

    def ancestors(self) -> list["Artifact"]:
        """Return what it is made from, and what that is made from: parents first, each once, this one last."""
        found: dict[Path, Artifact] = {}
        for parent in self.parents.values():
            found |= {each.path: each for each in parent.ancestors() if each.path not in found}
        return [*found.values(), self]

    def missing(self) -> list["Artifact"]:
        """Return what `build` has to make, parents first, this one last: nothing where this one is complete."""
        if is_complete(self.path):
            return []
        found: dict[Path, Artifact] = {}
        for parent in self.parents.values():
            found |= {each.path: each for each in parent.missing() if each.path not in found}
        return [*found.values(), self]


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


def build(artifact: A) -> A:
    """Return the artifact, finished: reused where it is complete, else made, and before it what is missing upstream.

    Progress is printed, in a notebook too, and Ctrl-C (a notebook's stop button) keeps what is there: the same call
    goes on from it.

    The process that makes an artifact holds its claim (`rwtl.pipeline.claim`); a second one that needs the same waits,
    says whom it waits for, and reuses. What a dead job left is taken over.

    Args:
        artifact: a plan, as `recording`, `pretraining`, `training`, `evaluation` and `comparison` return it.

    Raises:
        InputError: The folder cannot be written, or something that is made fails for a reason that a user can mend.

    >>> run = rwtl.build(rwtl.training(cfg))
    >>> run.state(), run.curve.step.tolist()
    ('complete', [0, 2, 4])
    >>> raft = run.load_model()
    """
    path, label = artifact.path, artifact.label
    if not is_complete(path):
        for parent in artifact.parents.values():
            build(parent)
    with writable(path.parent):
        held = claim(path / CLAIMS, lambda: is_complete(path), Waiting(label, path))
    if held is not None:
        print(f"{label}: making {path}", flush=True)
        _make(artifact, held)
    elif path not in _announced:
        print(f"{label}: reused {path}", flush=True)
    _announced.add(path)
    if held is None:
        artifact.check(path)
    return replace(artifact, reused=held is None)


def hush(artifact: Artifact) -> None:
    """Say no more in this process that an artifact is reused."""
    _announced.add(artifact.path)


def _make(artifact: Artifact, held: Claim) -> None:
    path, label, kind = artifact.path, artifact.label, artifact.kind
    parents = {role: parent.digest for role, parent in artifact.parents.items()}
    status = {"label": label, "kind": kind, "format": FORMAT[kind], "values": artifact.values, "parents": parents}
    earlier = history(path) if artifact.resumable else []
    status = {"state": "running", **status, **provenance(), "history": earlier}
    finished = False
    try:
        if not artifact.resumable:
            _empty(path)
        write_status(path, status)
        if artifact.config is not None:
            (path / files.CONFIG).write_text(resolved_yaml(artifact.config))
        with told(path / files.PROGRESS):
            artifact.make(path)
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
