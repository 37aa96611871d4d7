"""The names of the files in an artifact's folder, to be read as `files.MODEL`; reading what may be damaged, and writing
a file in one step."""

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from pydantic import BaseModel, TypeAdapter, ValidationError

from rwtl.errors import Damaged

if TYPE_CHECKING:
    import pandas as pd

# Of every artifact.
STATUS = "status.json"  # state, values, parents, versions, times
CONFIG = "config.yaml"  # the whole configuration, resolved
PROGRESS = "progress.json"  # while it is made: how much of the present work is done, and the time left

# Of a recording.
RECORDING = "recording"  # a Zarr group: calcium, a frame a chunk
STATE = "state.npz"  # in that group: all cells at the end of the last whole shard, while the simulation runs
MOSAIC = "mosaic.png"  # frames side by side
MOVIE = "movie.gif"
STATISTICS = "statistics.txt"  # of the waves, as a table to read
WAVES = "waves.csv"  # one row for each wave
PAGE = "page.html"  # of a simulation: statistics, pictures and parameters

# Of a pre-training and of a training.
MODEL = "model.pt"  # builder's arguments and weights
CURVE = "curve.csv"  # the metrics of every validation
METRICS = "metrics.csv"  # the same, and loss, learning rate and gradient norm every few steps
CHECKPOINT = "training.ckpt"  # what an interrupted training is resumed from; deleted at its end
TRANSFER = "transfer.json"  # which tensors were loaded, left out, shuffled, frozen
PICTURES = "pictures"  # a folder: predictions at every validation

# Of a pre-training alone.
NORMALISATION = "normalisation.json"  # the calcium concentrations that became 0 and 1
VERDICT = "verdict.txt"  # one line: the model beside the baselines of its source task
SKILL = "skill.csv"  # of next-frame prediction: errors beside those of simple predictions
PREDICTIONS = "predictions.npz"  # of next-frame prediction: some clips, and what is predicted of them
PREDICTIONS_FIGURE = "predictions.png"  # the same, as a picture
FRONTS = "fronts.csv"  # of the other source tasks: errors on the measured flow of fronts, one row for each pair

# Of a training alone.
SUBSET = "subset.json"  # which samples of each data set it draws from

# Of an evaluation, and of a submission.
ERRORS = "errors.csv"  # one row for each pair
SUBMISSION = "submission"  # a folder: flow in the layout of the benchmark

# Of a comparison.
COMPARISON = "comparison"  # .csv, .md, .tex: the table, of every row, column and fraction
RUNS = "runs.csv"  # one row for each run
CURVES = "curves.csv"  # the validations of all runs
REPORT = "report.html"  # all of it as one page


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Let a file be written in one step: whoever reads it, after a crash too, sees the old or the new one.

    Yields:
        A path in the same folder, which no other writer has, to be written and closed in the block. It then takes the
        place of `path`; after an exception it is deleted. What a kill leaves of it ends in `.partial`.
    """
    draft = path.with_name(f".{path.name}.{uuid4().hex}.partial")
    try:
        yield draft
        _sync(draft)
        os.replace(draft, path)
        _sync(path.parent)  # or the name may be lost in a power cut
    except IsADirectoryError as error:
        draft.unlink(missing_ok=True)
        raise Damaged(f"{path} is a folder, where a file is to be written; move it elsewhere") from error
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def sync(path: Path, folder: Path) -> None:
    """Wait until a file or folder and its name have reached the disk, and the names of the folders that hold it, up to
    `folder`."""
    _sync(path)
    while path != folder:
        path = path.parent
        _sync(path)


def sync_tree(folder: Path) -> None:
    """Wait until all that is in a folder has reached the disk, and its own name: what is then said of it, such as that
    it is complete, stays true after a power cut.

    Links are not followed, and what another process removes meanwhile does not matter.

    Raises:
        OSError: the disk failed to keep something.
    """
    for where, _, names in os.walk(folder, topdown=False):
        for file in (Path(where, name) for name in names):
            if not file.is_symlink() and file.is_file():  # opening a FIFO would wait for its writer
                with suppress(FileNotFoundError):
                    _sync(file)
        with suppress(FileNotFoundError):
            _sync(Path(where))
    _sync(folder.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL or not path.is_dir():  # some file systems have no such thing for folders
            raise
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file whole, in one step, in place of an earlier one; text as UTF-8."""
    with replaced(path) as draft:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, in one step; what JSON cannot hold is a TypeError and changes nothing."""
    write_atomically(path, json.dumps(value, indent=2) + "\n")


def is_file(path: Path) -> bool:
    """Return whether there is a file at a path; False where there is nothing.

    Raises OSError where there is something else: a link to nothing or to itself, a folder, or a FIFO, which to open
    would wait for ever.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise OSError("it is a link to nothing") from None
        return False
    if not stat.S_ISREG(mode):
        raise OSError("it is no file")
    return True


def _read(path: Path, remedy: str) -> bytes | None:
    """Return the content of a file; None where there is none. Raises Damaged where it cannot be read."""
    try:
        return path.read_bytes() if is_file(path) else None
    except FileNotFoundError:  # removed just now
        return None
    except OSError as error:
        raise _damaged(path, error, remedy) from error


def _damaged(path: Path, reason: object, remedy: str) -> Damaged:
    if isinstance(reason, PermissionError):
        return Damaged(f"{path} cannot be read ({reason.strerror}): give yourself the permission, or ask its owner")
    return Damaged(f"{path} is damaged ({reason}); {remedy}")


T = TypeVar("T")


def read_checked(path: Path, of_type: type[T], remedy: str) -> T | None:
    """Return the value in a JSON file, of a type that pydantic knows; None where there is no file.

    Args:
        path: the file.
        of_type: such as a model of pydantic's.
        remedy: what to do where the file is damaged.

    Raises Damaged where it cannot be read, or a value in it is of another type.
    """
    content = _read(path, remedy)
    try:
        return None if content is None else TypeAdapter(of_type).validate_json(content, strict=True)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = "".join(f"{part}: " for part in [".".join(map(str, first["loc"]))] if part)
        raise _damaged(path, f"{where}{first['msg']}", remedy) from error


def read_table(path: Path, *columns: str) -> "pd.DataFrame":
    """Return the table in a CSV file of a finished artifact, with the columns `pair` and `dataset` as text.

    Args:
        path: the file.
        columns: those that it must have.

    Raises Damaged where the file is not there, is no such table, or differs from its digest.
    """
    import pandas as pd  # not needed to know the names of files

    text = text_of(path)
    try:
        names = {"pair": str, "dataset": str}  # one may be called NA or null
        missing = {column: ["", "nan", "NaN"] for column in pd.read_csv(StringIO(text), nrows=0) if column not in names}
        table = pd.read_csv(StringIO(text), dtype=names, keep_default_na=False, na_values=missing)
        lacking = [column for column in columns if column not in table]
        if not lacking:
            return table
        reason = f"it has no column {lacking[0]}"
    except ValueError as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    raise _damaged(path, reason, _anew(path))


def text_of(path: Path) -> str:
    """Return the text in a file of a finished artifact.

    Raises Damaged where the file is not there, is no text, or differs from its digest.
    """
    content = _read(verified(path), _anew(path))
    if content is None:
        raise _damaged(path, "it is not there", _anew(path))
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise _damaged(path, error, _anew(path)) from error


def value_of(path: Path, of_type: type[T]) -> T:
    """Return the value in a JSON file of a finished artifact, of a type that pydantic knows.

    Raises Damaged where the file is not there, holds another type, or differs from its digest.
    """
    value = read_checked(verified(path), of_type, _anew(path))
    if value is None:
        raise _damaged(path, "it is not there", _anew(path))
    return value


def _anew(path: Path) -> str:
    """The remedy for a file of a finished artifact."""
    return f"remove {path.parent}, and it is made anew"


class Recorded(BaseModel):
    """The part of a status that names the files: the SHA-256 of each."""

    files: dict[str, str] = {}


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file in an artifact's folder, by its name; not of those in folders below it, nor of
    what is not part of the result."""
    return {
        file.name: _sha256(file)
        for file in sorted(folder.iterdir())
        if file.is_file() and file.name not in (STATUS, PROGRESS, CHECKPOINT)
    }


def verified(path: Path) -> Path:
    """Return the path of a file of a finished artifact, whose bytes are the ones that were written.

    A file outside of artifacts, or in one that was made before digests of files were recorded, is not checked.

    Raises Damaged where the file differs from its digest in the `status.json` beside it, or cannot be read.
    """
    status = read_checked(path.parent / STATUS, Recorded, _anew(path))
    wanted = status and status.files.get(path.name)
    if wanted is None:
        return path
    try:
        found = _sha256(path) if is_file(path) else None
    except OSError as error:
        raise _damaged(path, error, _anew(path)) from error
    if found != wanted:
        reason = f"its content is not what was written, by the SHA-256 in {STATUS}" if found else "it is not there"
        raise _damaged(path, reason, _anew(path))
    return path


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
