"""What weights can be transferred from, on disk: an artifact, a checkpoint of ours, or a RAFT as others save it."""

from pathlib import Path
from typing import Any

from rwtl import files
from rwtl.errors import InputError
from rwtl.learning.transfer.config import Source
from rwtl.models.checkpoints import read_own, recognise, weights_file
from rwtl.pipeline.status import read_status


def load_source(path: str | Path) -> Source:
    """Return what `path` holds: the folder of an artifact with a `model.pt`, a file of `save_model`, or another's RAFT.

    Only tensors and plain values are read, so no file can run code. The colour is what the file says, or else the
    `status.json` beside it (`values.clips.colour`).

    Raises:
        InputError: The folder holds no model or an unfinished one, the file is none that is known, or it holds a value
            that is not finite.
    """
    file = weights_file(path)
    status = _status(file.parent) if file.name == files.MODEL else {}
    own = read_own(file)
    if own is None:
        info = recognise(file)
        return Source(str(path), info.variant, info.feature_norm, None, info.weights)
    _, arguments, weights = own
    of_clips = (status.get("values") or {}).get("clips") or {}
    colour = arguments.get("colour", of_clips.get("colour"))
    return Source(str(path), arguments["variant"], arguments.get("feature_norm", "instance"), colour, weights)


def _status(folder: Path) -> dict[str, Any]:
    """Return an artifact's status, which must say that it is complete; empty where the folder is no artifact's."""
    status = read_status(folder)
    if status is not None and status["state"] != "complete":
        raise InputError(f"source {folder} is {status['state']}, not complete; make it again, or name another")
    return status or {}
