"""Checkpoints: files of our own, and RAFT in other people's, where the same tensors have other names."""

import hashlib
import re
import tarfile
import zipfile
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rwtl import files
from rwtl.errors import InputError
from rwtl.models.next_frame import build_next_frame
from rwtl.models.parts import LEVELS
from rwtl.models.raft import RAFT, build_raft

OFFICIAL = (
    (r"feature_encoder\.", "fnet."),
    (r"context_encoder\.", "cnet."),
    (r"update_block\.motion_encoder\.", "update_block.encoder."),
    (r"update_block\.gru\.horizontal\.(conv[zrq])", r"update_block.gru.\g<1>1"),
    (r"update_block\.gru\.vertical\.(conv[zrq])", r"update_block.gru.\g<1>2"),
    (r"upsampler\.mask\.", "update_block.mask."),
)
TORCHVISION = (
    (r"(feature|context)_encoder\.conv1\.", r"\1_encoder.convnormrelu.0."),
    (r"(feature|context)_encoder\.norm1\.", r"\1_encoder.convnormrelu.1."),
    (r"(feature|context)_encoder\.conv2\.", r"\1_encoder.conv."),
    (r"((?:feature|context)_encoder\.layer\d\.\d)\.conv(\d)\.", r"\1.convnormrelu\2.0."),
    (r"((?:feature|context)_encoder\.layer\d\.\d)\.norm(\d)\.", r"\1.convnormrelu\2.1."),
    (r"update_block\.motion_encoder\.convc(\d)\.", r"update_block.motion_encoder.convcorr\1.0."),
    (r"update_block\.motion_encoder\.convf(\d)\.", r"update_block.motion_encoder.convflow\1.0."),
    (r"update_block\.motion_encoder\.conv\.", "update_block.motion_encoder.conv.0."),
    (r"update_block\.gru\.horizontal\.", "update_block.recurrent_block.convgru1."),
    (r"update_block\.gru\.vertical\.", "update_block.recurrent_block.convgru2."),
    (r"update_block\.gru\.", "update_block.recurrent_block.convgru1."),
    (r"upsampler\.mask\.0\.", "mask_predictor.convrelu.0."),
    (r"upsampler\.mask\.2\.", "mask_predictor.conv."),
)
RULES = {"rwtl": (), "official": OFFICIAL, "torchvision": TORCHVISION}
# Official blocks register the shortcut's norm twice, counting it as the block's next one.
TWICE = {"basic": ".norm3.", "small": ".norm4."}
BUILDERS: dict[str, Callable[..., nn.Module]] = {"raft": build_raft, "next_frame": build_next_frame}
OWN_KEYS = {"kind", "arguments", "weights"}
PARALLEL = "module."  # what DataParallel puts before every name, and the official files therefore hold
ENCODER = re.compile(r"((?:\w+\.)*?)(?:fnet|cnet|feature_encoder|context_encoder)\.")  # after a prefix of any kind
COUNTER = ".num_batches_tracked"  # of BatchNorm, which older files lack; with a fixed momentum nothing depends on it
RETRAIN = "Choose the variant (basic, small) and feature_norm (instance, batch, none) that it was trained with"
DAMAGED = "The file is not a whole checkpoint of that kind: fetch or write it again"


def foreign_names(naming: str, variant: str, own: Iterable[str]) -> dict[str, str]:
    """Map the names in a file of `naming` (rwtl, official, torchvision) to the own names of the same tensors.

    An official file holds the norm of a strided block's shortcut under two names, both of which are given.
    """
    names = {}
    for name in own:
        rule = next((rule for rule in RULES[naming] if re.match(rule[0], name)), None)
        foreign = re.sub(*rule, name, count=1) if rule else name
        names[foreign] = name
        if naming == "official" and ".downsample.1." in foreign:
            names[foreign.replace(".downsample.1.", TWICE[variant])] = name
    return names


def naming_of(names: Iterable[str]) -> str | None:
    """Return whose names these are, by the feature encoder's; None if nobody's that is known."""
    names = list(names)
    if any(name.startswith(("fnet.", "cnet.")) for name in names):
        return "official"
    if any(re.match(r"(feature|context)_encoder\.(layer\d\.\d\.)?convnormrelu", name) for name in names):
        return "torchvision"
    return "rwtl" if "feature_encoder.conv1.weight" in names else None


@dataclass(frozen=True)
class CheckpointInfo:
    """A RAFT as a file holds it.

    Args:
        format: whose names the file uses: `rwtl`, `official` (princeton-vl, ptlflow) or `torchvision`.
        wrapping: what lies around the names: keys of the dictionaries that hold them, such as `state_dict` or `model`,
            then what is before every name, such as `module.` (DataParallel's).
        tensors: tensors in the file.
        variant: `basic` or `small`.
        feature_norm: normalisation of the feature encoder. In a foreign file BatchNorm is known by its tensors; where
            there are none it is taken for stock RAFT's `instance`, as `none` leaves no trace either.
        arguments: arguments of `build_raft`.
        weights: state dictionary of the model, by our names, on the CPU.
    """

    format: str
    wrapping: tuple[str, ...]
    tensors: int
    variant: str
    feature_norm: str
    arguments: dict
    weights: dict[str, Tensor] = field(repr=False)

    def __str__(self) -> str:
        around = f" ({', '.join(self.wrapping)})" if self.wrapping else ""
        levels = "" if self.levels == LEVELS else f", {self.levels} levels"
        said = f"{self.format} RAFT {self.variant}{levels}{around}"
        return f"{said}, {self.tensors} tensors, feature_norm {self.feature_norm}"

    @property
    def levels(self) -> int:
        """Levels of the correlation pyramid."""
        return self.arguments.get("levels", LEVELS)


def save_model(path: str | Path, kind: str, arguments: dict, model: nn.Module) -> None:
    """Write the weights and the arguments of the builder (`raft` or `next_frame`) that made the model."""
    torch.save({"kind": kind, "arguments": arguments, "weights": model.state_dict()}, path)


def save_official(path: str | Path, model: RAFT, prefix: str = PARALLEL) -> None:
    """Write RAFT as princeton-vl's code does and strictly reads it: 179 tensors (basic) or 106 (small), on the CPU.

    Args:
        path: the file to write.
        model: RAFT with instance normalisation in the feature encoder and 4 levels; another is an InputError.
        prefix: put before every name; `module.` as in the released files, or an empty one for a bare model.
    """
    if not any(isinstance(layer, nn.InstanceNorm2d) for layer in model.feature_encoder.modules()):
        raise InputError(
            f"{path} cannot be written: the official feature encoder normalises by instance and this model's does not, "
            "so the official code would give another flow; save it with save_model, or train with feature_norm=instance"
        )
    if model.correlation.levels != LEVELS:
        raise InputError(
            f"{path} cannot be written: the official correlation has {LEVELS} levels and this model's has "
            f"{model.correlation.levels}; save it with save_model"
        )
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    variant, _, own = _match(state, "rwtl", "", "the model to be saved")
    torch.save({prefix + name: own[source] for name, source in foreign_names("official", variant, own).items()}, path)


def recognise(path: str | Path) -> CheckpointInfo:
    """Return what RAFT a file holds, whoever wrote it; `str` of it is one line that says so.

    Only tensors and plain values are read (`weights_only`), so no file can run code. Raises InputError where the file
    is damaged, holds no RAFT, or has a tensor missing, surplus, misshapen or not finite: each is named as in the file.
    """
    content = _read(path)
    if set(content) == OWN_KEYS:
        with torch.device("meta"):
            _own_model(path, content, "raft")
        weights, arguments = content["weights"], content["arguments"]
        variant, norm = arguments["variant"], arguments.get("feature_norm", "instance")
        return CheckpointInfo("rwtl", (), len(weights), variant, norm, arguments, weights)
    found = list(_within(content))
    if not found:
        raise InputError(
            f"checkpoint {path} holds no RAFT that is known; it starts with {', '.join(map(repr, list(content)[:3]))}. "
            "Known are files of rwtl (keys kind, arguments and weights) and the tensors of princeton-vl's RAFT "
            "(fnet.conv1.weight, …), torchvision's (feature_encoder.convnormrelu.0.weight, …) and ptlflow's"
        )
    if len(found) > 1:
        places = ", ".join(".".join(where) for where, *_ in found)
        raise InputError(f"checkpoint {path} holds {len(found)} RAFTs, in {places}; save the one that you mean alone")
    where, content, prefix, naming = found[0]
    _require_tensors(content, path)
    variant, norm, weights = _match(content, naming, prefix, f"checkpoint {path}")
    wrapping = (*where, *([prefix] if prefix else []))
    arguments = {"variant": variant, "feature_norm": norm}
    return CheckpointInfo(naming, wrapping, len(content), variant, norm, arguments, weights)


def _within(content: dict, where: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict, str, str]]:
    """Yield each dictionary within another one that holds tensors by the names of a RAFT: the keys by which it is
    reached, the dictionary itself, what is before every name, and whose names they are."""
    names = [name for name in content if isinstance(name, str)]
    first = next(filter(None, map(ENCODER.match, names)), None)
    prefix = first[1] if first else ""
    naming = naming_of(name.removeprefix(prefix) for name in names)
    if naming is not None:
        yield where, content, prefix, naming
        return
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _within(value, (*where, str(key)))


def not_finite(weights: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the tensors that hold a value that is not finite; a GPU is waited for once."""
    floats = {name: tensor for name, tensor in weights.items() if tensor.is_floating_point()}
    if not floats:
        return []
    finite = torch.stack([tensor.isfinite().all() for tensor in floats.values()]).tolist()
    return [name for name, all_finite in zip(floats, finite, strict=True) if not all_finite]


def digest_of_weights(weights: dict[str, Tensor]) -> str:
    """Return a digest of a state dictionary, by which the same weights are known in any file."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def load_raft(path: str | Path, **options) -> RAFT:
    """Return the RAFT that `path` holds, ready to evaluate on the CPU, whoever wrote it (see `recognise`).

    Args:
        path: a file of `save_model` or `save_official`, of princeton-vl, torchvision or ptlflow, alone or in a
            checkpoint of a training; or the folder of an artifact that holds a `model.pt`.
        options: `iterations` and further arguments of `build_raft` that no weight depends on, in place of the file's.

    Raises:
        InputError: The file is damaged, holds no RAFT that is known, or a value that is not finite; see `recognise`.

    >>> raft = rwtl.load_raft(run.path / "model.pt")
    >>> flow = raft.estimate(scenes[0].image1[None], scenes[0].image2[None]).flow
    >>> tuple(flow.shape)
    (1, 2, 32, 40)
    """
    info = recognise(path)
    fixed = {"variant": info.variant, "feature_norm": info.feature_norm}  # given as options too, they raise TypeError
    rest = {key: value for key, value in info.arguments.items() if key not in fixed}
    model = build_raft(**fixed, **(rest | options))
    model.load_state_dict(info.weights)
    return model.eval()


def read_own(path: str | Path) -> tuple[str, dict, dict[str, Tensor]] | None:
    """Return kind, builder's arguments and checked weights of a file of `save_model`; None where others wrote it."""
    content = _read(path)
    if set(content) != OWN_KEYS:
        return None
    if content["kind"] not in BUILDERS:
        raise InputError(f"checkpoint {path} holds a {content['kind']} model; known are {', '.join(BUILDERS)}")
    with torch.device("meta"):
        _own_model(path, content, content["kind"])
    return content["kind"], content["arguments"], content["weights"]


def load_model(path: str | Path) -> nn.Module:
    """Return the model that a file of `save_model` holds, RAFT or a next-frame model, ready to evaluate on the CPU."""
    own = read_own(path)
    if own is None:
        raise InputError(f"checkpoint {path} is not one of rwtl's: it lacks the keys kind, arguments and weights")
    kind, arguments, weights = own
    model = BUILDERS[kind](**arguments)
    model.load_state_dict(weights)
    return model.eval()


def check_tensors(
    found: dict, expected: dict, source: str, target: str, remedy: str = RETRAIN, most: int | None = 4
) -> None:
    """Raise an InputError that names missing, surplus and misshapen tensors, if any: at most so many, or all."""
    faults = [f"{name} is missing" for name in expected if name not in found]
    faults += [f"{name} is surplus" for name in found if name not in expected]
    faults += [
        f"{name} is {tuple(found[name].shape)} in place of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    faults += [  # which loading would silently cut off
        f"{name} holds {str(found[name].dtype).removeprefix('torch.')} in place of real numbers"
        for name, tensor in expected.items()
        if name in found and tensor.is_floating_point() and not found[name].is_floating_point()
    ]
    if faults:
        listed = "; ".join(faults[:most]) + (f"; and {len(faults) - most} more" if most and len(faults) > most else "")
        raise InputError(f"{source} does not fit {target}: {listed}. {remedy}")


def _read(path: str | Path) -> dict:
    """Return the dictionary that a file holds, on the CPU whatever it was saved on."""
    path = files.verified(weights_file(path))
    if not path.is_file():
        raise InputError(f"checkpoint {path} does not exist; name a file, such as a model.pt that train made")
    try:
        with torch.serialization.safe_globals([Namespace]):  # of plain values: the options of who trained
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes lead the unpickler to any exception at all
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        if code:
            raise InputError(
                f"checkpoint {path} holds {code[1]}, which is no tensor; such a file could run code and is not loaded. "
                "Where you trust it, save its state dictionary alone: torch.save(model.state_dict(), …), or what "
                "torch.load(…, weights_only=False) has under the key of the weights, such as 'model'"
            ) from error
        if inner := _archived(path):
            raise InputError(
                f"checkpoint {path} is an archive of files; unpack it, and name one of them, such as {inner}"
            ) from error
        # What PyTorch says first of an unreadable file, or says of one of its oldest, is advice to read it unsafely.
        reason = str(error).split("WeightsUnpickler error:")[-1].strip()
        if not reason or "weights_only" in reason:
            reason = type(error).__name__
        raise InputError(
            f"checkpoint {path} cannot be read ({reason.splitlines()[0]}); is it whole, and a file of PyTorch?"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"checkpoint {path} holds a {type(content).__name__}; a dictionary of tensors is needed")
    return content


def weights_file(path: str | Path) -> Path:
    """Return the file of weights that a path means: itself, or the `model.pt` in the folder of an artifact.

    Raises InputError where it is another folder.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        return path
    if (path / files.MODEL).is_file():
        return path / files.MODEL
    status = files.read_checked(path / files.STATUS, dict[str, Any], "name another folder") or {}
    said = f"of the stage {status['kind']}" if "kind" in status else "of no artifact"
    raise InputError(
        f"{path} is a folder {said}, without {files.MODEL}; name a folder that pretrain or train made, or a file"
    )


def _archived(path: Path) -> str | None:
    """Return the first checkpoint in a ZIP or tar archive of files; None where it is none, as PyTorch's own is."""
    names = []
    if tarfile.is_tarfile(path):  # before ZIP, which a tar file that ends with a checkpoint passes for
        with tarfile.open(path) as archive:
            names = archive.getnames()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    return next((name for name in names if name.endswith((".pth", ".pt", ".ckpt"))), None)


def _own_model(path: Path, content: dict, kind: str) -> nn.Module:
    """Build the model that one of our files describes, without its weights, which are sure to fit."""
    if content["kind"] != kind:
        raise InputError(f"checkpoint {path} holds a {content['kind']} model; a {kind} model is needed here")
    arguments, weights = content["arguments"], content["weights"]
    try:
        model = BUILDERS[kind](**arguments)
    except TypeError as error:
        raise InputError(
            f"checkpoint {path}: no {kind} model can be built with {arguments} ({error}); was it written by another "
            "version of rwtl?"
        ) from error
    _require_tensors(weights, path)
    check_tensors(weights, model.state_dict(), f"checkpoint {path}", f"{kind} {arguments}")
    return model


def _require_tensors(weights: dict, path: Path) -> None:
    """Raise InputError where a weight is no tensor, or holds a value that is not finite."""
    for name, tensor in weights.items():
        if not isinstance(tensor, Tensor):
            raise InputError(f"checkpoint {path}: {name} is a {type(tensor).__name__}; every weight must be a tensor")
    if names := not_finite(weights):
        more = f", and so do {len(names) - 1} more tensors" if len(names) > 1 else ""
        raise InputError(
            f"checkpoint {path}: {names[0]} holds values that are not finite{more}; its training diverged: name another"
        )


def _match(found: dict[str, Tensor], naming: str, prefix: str, source: str) -> tuple[str, str, dict[str, Tensor]]:
    """Return variant, feature_norm and the weights by our names; raise InputError where no RAFT fits every tensor."""
    candidates = []
    for variant in TWICE:  # others have no published files
        for norm in ("instance", "batch"):
            with torch.device("meta"):
                layout = build_raft(variant, norm).state_dict()
            names = {prefix + name: own for name, own in foreign_names(naming, variant, layout).items()}
            expected = {name: layout[own] for name, own in names.items()}
            fit = sum(name in found and found[name].shape == tensor.shape for name, tensor in expected.items())
            # The nearest is meant: the most tensors that fit, the fewest that do not.
            candidates.append((2 * fit - len(expected), variant, norm, names, expected))
    _, variant, norm, names, expected = max(candidates, key=lambda candidate: candidate[0])
    found = _counted(found, expected, names)
    check_tensors(found, expected, source, f"RAFT {variant} by {naming} names", DAMAGED)
    weights = {own: found[name] for name, own in names.items()}
    for name, own in names.items():
        if found[name] is not weights[own] and not torch.equal(found[name], weights[own]):
            raise InputError(f"{source}: {name} differs from the same tensor under its other name. {DAMAGED}")
    return variant, norm, weights


def _counted(found: dict[str, Tensor], expected: dict[str, Tensor], names: dict[str, str]) -> dict[str, Tensor]:
    """Add the counters of BatchNorm that a file lacks: of the same layer by its other name, or else 0."""
    counters = {own: found[name] for name, own in names.items() if name.endswith(COUNTER) and name in found}
    lacking = [name for name in expected if name.endswith(COUNTER) and name not in found]
    return found | {name: counters.get(names[name], torch.tensor(0)) for name in lacking}
