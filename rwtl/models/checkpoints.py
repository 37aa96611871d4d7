"""Models on disk: weights with what is needed to rebuild the model they belong to."""

import pickle
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from rwtl.errors import InputError
from rwtl.models.next_frame import NextFrameModel, build_next_frame
from rwtl.models.raft import RAFT, build_raft

BUILDERS: dict[str, Callable[..., nn.Module]] = {"raft": build_raft, "next_frame": build_next_frame}


def save_model(path: Path, kind: str, arguments: dict, model: nn.Module) -> None:
    """Write the weights and the arguments of the builder (`raft` or `next_frame`) that made the model."""
    torch.save({"kind": kind, "arguments": arguments, "weights": model.state_dict()}, path)


def read_checkpoint(path: Path, kind: str) -> dict:
    """Read a file of `save_model` on the CPU, checking that it holds a model of that kind."""
    if not path.is_file():
        raise InputError(f"checkpoint {path} does not exist; name a model.pt that pretrain.py or train.py made")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"checkpoint {path} cannot be read ({reason}); is it whole, and made by rwtl?") from error
    if not isinstance(content, dict) or set(content) != {"kind", "arguments", "weights"}:
        raise InputError(f"checkpoint {path} is not one of rwtl's: it lacks the keys kind, arguments and weights")
    if content["kind"] != kind:
        raise InputError(f"checkpoint {path} holds a {content['kind']} model; a {kind} model is needed here")
    return content


def _load(path: Path, kind: str) -> nn.Module:
    content = read_checkpoint(path, kind)
    model = BUILDERS[kind](**content["arguments"])
    check_tensors(content["weights"], model.state_dict(), source=str(path), target=f"{kind} {content['arguments']}")
    model.load_state_dict(content["weights"])
    return model.eval()


def load_raft(path: Path) -> RAFT:
    """Return the RAFT that `path` holds, ready to evaluate."""
    return _load(path, "raft")


def load_next_frame(path: Path) -> NextFrameModel:
    """Return the next-frame model that `path` holds, ready to evaluate."""
    return _load(path, "next_frame")


def check_tensors(found: dict, expected: dict, source: str, target: str) -> None:
    """Raise an InputError that names the first missing, surplus and misshapen tensors, if any."""
    faults = [f"{name} is missing" for name in expected if name not in found]
    faults += [f"{name} is surplus" for name in found if name not in expected]
    faults += [
        f"{name} is {tuple(found[name].shape)} in place of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    if faults:
        listed = "; ".join(faults[:4]) + (f"; and {len(faults) - 4} more" if len(faults) > 4 else "")
        raise InputError(
            f"{source} does not fit {target}: {listed}. Choose the variant (basic, small) and feature_norm "
            "(instance, batch, none) that it was trained with"
        )
