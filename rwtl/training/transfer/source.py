"""What weights can be transferred from: a pre-trained artifact, a checkpoint of ours, or a RAFT as others save it."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from rwtl.errors import InputError
from rwtl.files import MODEL, STATUS
from rwtl.models.checkpoints import read_own, recognise


@dataclass(frozen=True)
class Source:
    """A trained model, as a transfer needs it.

    Args:
        name: names it in errors and reports.
        variant: `basic` or `small`.
        feature_norm: normalisation of the feature encoder.
        colour: colours of the frames that it was trained on, as of `rwtl.clips.transforms`; None where nothing says it.
        weights: state dictionary by our names, on the CPU.
    """

    name: str
    variant: str
    feature_norm: str
    colour: str | None
    weights: dict[str, Tensor] = field(repr=False)


def load_source(path: str | Path) -> Source:
    """Return what `path` holds: the folder of an artifact with a `model.pt`, a file of `save_model`, or another's RAFT.

    Only tensors and plain values are read, so no file can run code. The colour is what the file says, or else the
    `status.json` beside it (`values.clips.colour`).

    Raises:
        InputError: The folder holds no model or an unfinished one, the file is none that is known, or it holds a value
            that is not finite.
    """
    path = Path(path)
    file = path / MODEL if path.is_dir() else path
    if path.is_dir() and not file.is_file():
        raise InputError(
            f"source {path} is a folder without {MODEL}; name a folder that pretrain.py or train.py made, or a file"
        )
    status = _status(file.with_name(STATUS)) if file.name == MODEL else {}
    own = read_own(file)
    if own is None:
        info = recognise(file)
        source = Source(str(path), info.variant, info.feature_norm, None, info.weights)
    else:
        _, arguments, weights = own
        of_clips = (status.get("values") or {}).get("clips") or {}
        colour = arguments.get("colour", of_clips.get("colour"))
        source = Source(str(path), arguments["variant"], arguments.get("feature_norm", "instance"), colour, weights)
    for name, tensor in source.weights.items():
        if not torch.isfinite(tensor).all():
            raise InputError(
                f"source {path}: {name} holds values that are not finite; its training diverged: name another"
            )
    return source


def _status(file: Path) -> dict:
    """Return an artifact's status, which must say that it is complete; empty where the model is not in an artifact."""
    if not file.is_file():
        return {}
    try:
        status = json.loads(file.read_text())
        state = status["state"]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{file} is damaged ({error}); make the artifact {file.parent} again") from error
    if state != "complete":
        raise InputError(f"source {file.parent} is {state}, not complete; make it again, or name another")
    return status
