"""Artifacts: what a stage makes, in a folder named by a digest of exactly the values that determine it.

A stage returns an `Artifact`, which says what would be made and from what; `build` makes it.

A folder outputs/kind/digest is a finished artifact. Until then there is outputs/unfinished/kind/digest, with the claims
(`rwtl.pipeline.claim`) and the folder of an attempt, which has its own `status.json`. A job takes over from an earlier
one by renaming that one's attempt, after which nothing that the earlier job still does by any path reaches it, and it
finishes by renaming its attempt to outputs/kind/digest. Each is one step, which only one job can do.
"""

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig

from rwtl import files
from rwtl.config import resolved_yaml
from rwtl.errors import InputError
from rwtl.pipeline.claim import CLAIMS, LEASE, Claim, TakenOver, Waiting, claim, holder_of, writable
from rwtl.pipeline.provenance import now, provenance
from rwtl.pipeline.status import (
    FORMAT,
    claims_of,
    digest_of,
    history,
    is_complete,
    maker_of,
    newest_attempt,
    read_status,
    state_of,
    unfinished,
    write_status,
)
from rwtl.progress import say, told

A = TypeVar("A", bound="Artifact")

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
        return files.verified(self.path / name)

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
        raise no_objective(self.kind)

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


def no_objective(kind: str) -> InputError:
    """Return the error that artifacts of a kind have no number that a search could minimise."""
    return InputError(f"a {kind} has no number that a search could minimise; search with pretrain, train or evaluate")


def build(artifact: A) -> A:
    """Return the artifact, finished: reused where it is complete, else made, and before it what is missing upstream.

    Progress is printed, in a notebook too, and Ctrl-C (a notebook's stop button) keeps what is there: the same call
    goes on from it.

    The process that makes an artifact holds its claim (`rwtl.pipeline.claim`); a second one that needs the same waits,
    says whom it waits for, and reuses. What a dead job left is taken over. One that was only stopped, and wakes then,
    changes nothing any more, and waits too.

    Args:
        artifact: a plan, as `recording`, `pretraining`, `training`, `evaluation` and `comparison` return it.

    Raises:
        InputError: The folder cannot be written, or something that is made fails for a reason that a user can mend.

    >>> run = rwtl.build(rwtl.training(cfg))
    >>> run.state(), run.curve.step.tolist()
    ('complete', [0, 2, 4])
    >>> raft = run.load_model()
    """
    if not isinstance(artifact, Artifact):
        what = "a configuration" if isinstance(artifact, DictConfig) else f"a {type(artifact).__name__}"
        raise InputError(f"build is given {what}; give it a plan, such as rwtl.training(cfg) returns")
    path, label = artifact.path, artifact.label
    if not is_complete(path):
        for parent in artifact.parents.values():
            build(parent)
    claims = claims_of(path)
    with writable(artifact.outputs):
        held = claim(claims, lambda: is_complete(path), Waiting(label, path, claims))
    try:
        made = held is not None and _made(artifact, held)
    except TakenOver as error:
        say(f"{label}: {error}")
        return build(artifact)  # which waits for the other job
    if not made:
        held_by = maker_of(path) if unfinished(path).exists() else None
        if held_by is None or held_by[1]:  # its maker was killed just after its end
            _clear_away(path)
        if path not in _announced:
            say(f"{label}: reused {path}")
        artifact.check(path)
    _announced.add(path)
    return replace(artifact, reused=not made)


def hush(artifact: Artifact) -> None:
    """Say no more in this process that an artifact is reused."""
    _announced.add(artifact.path)


def _made(artifact: Artifact, held: Claim) -> bool:
    """Make an artifact, and give its claim back; return False where a holder before has finished at this very moment.

    Raises TakenOver where another process has taken over.
    """
    try:
        with writable(artifact.outputs):
            attempt = _take_over(artifact.path, held)
        if attempt is None:
            return False
        say(f"{artifact.label}: making {artifact.path}")
        _make(artifact, held, attempt)
        return True
    finally:
        held.release()


def _take_over(path: Path, held: Claim) -> Path | None:
    """Return the folder of an attempt, with what an earlier one left: from then on that one can change nothing.

    None where a holder before has finished at this very moment. Raises TakenOver where another process has taken over.
    """
    work = unfinished(path)
    attempt = work / f"{held.number:06d}-{secrets.token_hex(4)}"
    _require_place(work, path)
    there = [each for each in work.iterdir() if each.name != CLAIMS]
    left = newest_attempt(path)
    held.require()  # after that look: the attempt of a later holder is younger than its claim, so it is not among them
    if left is None and os.path.lexists(path) and not is_complete(path):
        left = _of_earlier_version(path)
    if left is not None:
        with suppress(FileNotFoundError):  # its holder has finished, or a later one has taken over, at this very moment
            os.rename(left, attempt)
    if is_complete(path):
        held.finish()
        return None
    held.require()
    attempt.mkdir(exist_ok=True)
    for each in there:  # what was made by somebody who woke after it was taken over
        shutil.rmtree(each, ignore_errors=True)
    return attempt


def _require_place(work: Path, path: Path) -> None:
    """Raise an error where an attempt could not become the artifact at its end: OSError where its folder cannot be
    written, and InputError where that is on another disk, for a rename is within one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK | os.X_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path.parent))
    if path.parent.stat().st_dev != work.stat().st_dev:
        raise InputError(
            f"{path.parent} is on another disk than {work.parent}, where what goes there is made; link that to a "
            "folder on the same disk too, or have all of paths.outputs on one"
        )


def _of_earlier_version(path: Path) -> Path | None:
    """Return an unfinished artifact's folder, as versions of rwtl without folders of attempts left it.

    None for an empty folder, which a finished attempt replaces.

    Raises InputError where there is something else, or a job of such a version works in it.
    """
    held = holder_of(path / CLAIMS)
    if held is not None and (held[1] is False or (held[1] is None and held[2] < LEASE)):
        raise InputError(f"{path} is being made by {held[0]}, with an earlier version of rwtl; wait for it, or end it")
    begun = (path / files.STATUS).exists()
    if not begun and (path.is_symlink() or not path.is_dir() or any(each.name != CLAIMS for each in path.iterdir())):
        raise InputError(f"{path} is in the way: it is no artifact, for it has no {files.STATUS}; move it elsewhere")
    shutil.rmtree(path / CLAIMS, ignore_errors=True)
    return path if begun else None


def _make(artifact: Artifact, held: Claim, attempt: Path) -> None:
    path, label, kind = artifact.path, artifact.label, artifact.kind
    parents = {role: parent.digest for role, parent in artifact.parents.items()}
    status = {"label": label, "kind": kind, "format": FORMAT[kind], "values": artifact.values, "parents": parents}
    status |= {"attempt": attempt.name, **provenance()}
    try:
        if artifact.resumable:
            status["history"] = history(attempt)
            _detach(attempt)
        else:
            _empty(attempt)
        write_status(attempt, {"state": "running"} | status)
        held.fence = attempt / files.STATUS
        if artifact.config is not None:
            files.write_atomically(attempt / files.CONFIG, resolved_yaml(artifact.config))
        with told(attempt / files.PROGRESS, held.require):
            artifact.make(attempt)
        _publish(attempt, path, status, held)
    except BaseException as error:
        if _published(attempt, path):  # it was interrupted after its end
            _clear_away(path)
            raise
        if isinstance(error, Exception):
            with suppress(OSError):
                held.require()
        interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
        reason = f"{type(error).__name__}: {error}"
        ended = {"state": "interrupted" if interrupted else "failed", "reason": reason, "finished": now()}
        if (attempt / files.STATUS).exists():
            with suppress(OSError):  # on a full disk
                write_status(attempt, ended | status)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            where = error.filename2 or error.filename or path  # of a copy its target; it may be elsewhere, as TMPDIR
            raise InputError(f"{label}: cannot use {where} ({error.strerror}); what is finished is kept") from error
        raise


def _detach(attempt: Path) -> None:
    """Copy each file that an earlier job may still have open, to write on when it wakes: that goes into the old one.

    What is in folders, and what jobs resume from, is written in one step (`files.replaced`; Zarr does the same).
    """
    for file in attempt.iterdir():
        if file.is_file() and not file.is_symlink() and file.name not in (files.STATUS, files.CHECKPOINT):
            with files.replaced(file) as draft:
                shutil.copyfile(file, draft)


def _publish(attempt: Path, path: Path, status: dict[str, Any], held: Claim) -> None:
    """Make an attempt the artifact. Raises TakenOver where another process has taken over."""
    for partial in attempt.rglob("*.partial"):  # of a process that ended, or was taken over from, as it wrote
        partial.unlink(missing_ok=True)
    held.require()
    files.sync_tree(attempt)  # before anything says that it is complete: a power cut may follow
    write_status(attempt, {"state": "complete"} | status | {"finished": now(), "files": files.digests(attempt)})
    held.require()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(attempt, path)
    except OSError:
        if not _published(attempt, path):  # a file server may say so of what it has done
            raise
    files.sync(path.parent, path.parents[1])
    _clear_away(path)


def _clear_away(path: Path) -> None:
    """Remove what a finished artifact needs no more."""
    with suppress(OSError):  # of another user
        (path / files.CHECKPOINT).unlink(missing_ok=True)
    shutil.rmtree(unfinished(path), ignore_errors=True)


def _published(attempt: Path, path: Path) -> bool:
    return is_complete(path) and (read_status(path) or {}).get("attempt") == attempt.name


def _empty(path: Path) -> None:
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
