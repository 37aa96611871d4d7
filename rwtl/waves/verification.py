"""Whether a recording on disk is what its writer wrote: its attributes, its array, and every shard in its place."""

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, fields
from math import ceil, isclose, isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec
from zarr.codecs.bytes import Endian

from rwtl import files
from rwtl.errors import InputError
from rwtl.sections import typed
from rwtl.waves.config import (
    FRAMES_PER_SHARD,
    SAC,
    SYNTHETIC_KINDS,
    SYNTHETIC_VERSION,
    RecordingConfig,
    SyntheticConfig,
)
from rwtl.waves.model.parameters import MODEL_VERSION

# Raised when the layout of the Zarr group changes.
FORMAT = 2
_INDEX = 16 * FRAMES_PER_SHARD  # bytes at a shard's end, before their checksum: where each frame begins, its bytes
_CHECKSUM = 4  # bytes: a CRC-32C ends each frame, and the index
_ABSENT = 2**64 - 1  # in the index, of a frame that is not there
_SHOWN = 60  # characters of a value in a message


class Verified(NamedTuple):
    """Attributes of the Zarr group, and shape (frames, rows, columns) of the array."""

    attributes: dict[str, Any]
    shape: tuple[int, int, int]


def verified(path: Path) -> Verified:
    """Read what describes a recording, complete or not, and verify all of it.

    Every attribute has the type and the value that the configuration in it implies, the array has the shape and the
    form that the writer gives it, and there is a chunk of every valid frame. Recordings that note a fingerprint for
    each shard, as this version writes them, also have each shard in its place. The values of frames are verified by
    their checksums when they are read.

    Raises:
        InputError: there is something else, another version, or something does not fit: the message names the file, the
            attribute, its value, the rule and the remedy.
    """
    while True:
        found = _read(path)
        try:
            _verify(path, *found)
            return found
        except InputError:
            if _read(path).attributes == found.attributes:  # else its writer went on meanwhile
                raise


def fingerprint(shard: Path, frames: int) -> str:
    """Digest of a shard's index and of the checksums of its frames, all of which reading verifies: 1 KiB is read, and
    4 bytes for each frame.

    Args:
        shard: the file.
        frames: how many it must hold, the first of its places.

    Raises:
        ValueError: the file is missing, is damaged or holds another number of frames.
    """
    try:
        descriptor = os.open(shard, os.O_RDONLY | os.O_NONBLOCK)  # opening a FIFO would wait for its writer
    except OSError as error:
        raise ValueError(error.strerror) from error
    try:
        status = os.fstat(descriptor)
        end = status.st_size - _INDEX - _CHECKSUM
        if not stat.S_ISREG(status.st_mode) or end < 0:
            raise ValueError(f"{status.st_size} bytes, which hold no index of a shard")
        index = os.pread(descriptor, _INDEX + _CHECKSUM, end)
        places = np.frombuffer(index[:_INDEX], "<u8").reshape(-1, 2).tolist()
        present = [size != _ABSENT for _, size in places]
        if present != [number < frames for number in range(FRAMES_PER_SHARD)]:
            raise ValueError(f"{sum(present)} frames in it, and {frames} are expected")
        digest = hashlib.sha256(index)
        for offset, size in places[:frames]:
            if size < _CHECKSUM or offset + size > end:
                raise ValueError("its index reaches beyond its end")
            digest.update(os.pread(descriptor, _CHECKSUM, offset + size - _CHECKSUM))
        return digest.hexdigest()[:16]
    except OSError as error:
        raise ValueError(error.strerror) from error
    finally:
        os.close(descriptor)


def shard_file(path: Path, number: int) -> Path:
    """Return the path of a shard of the recording at `path`."""
    return path / "calcium" / "c" / str(number) / "0" / "0"


def frames_in(shard: int, valid_frames: int) -> int:
    """Return how many of the valid frames a shard holds."""
    return min(FRAMES_PER_SHARD, valid_frames - shard * FRAMES_PER_SHARD)


def require_current(path: Path, attributes: Mapping[str, Any]) -> None:
    """Raise InputError where a recording has another version of the model, of the generator or of the layout."""
    simulated = attributes["config"].get("kind", SAC) == SAC
    version = ("model_version", MODEL_VERSION) if simulated else ("generator_version", SYNTHETIC_VERSION)
    for name, here in (("format", FORMAT), version):
        if attributes.get(name, 1) != here:
            raise InputError(
                f"{path} has {name} {attributes.get(name, 1)!r}, and this version of rwtl makes and reads {here}: "
                "simulate it anew, or use the version that made it"
            )


def _read(path: Path) -> Verified:
    try:
        for file in (path / "zarr.json", path / "calcium" / "zarr.json"):
            if not file.is_file():
                raise FileNotFoundError(f"{file} is not there, or is no file")
        group = zarr.open_group(path, mode="r")
        calcium = group["calcium"]
        _verify_form(calcium)
        return Verified(dict(group.attrs), calcium.shape)
    except Exception as error:  # Zarr parses what may be any bytes, and names no errors
        remedy = remedy_for(path) if _of_artifact(path) else "give the Zarr group that simulate wrote"
        raise InputError(f"{path} is not a recording ({type(error).__name__}: {error}): {remedy}") from error


def _verify_form(calcium: Any) -> None:
    """Raise ValueError where an array is not stored as a recording's: its frames could be read as something else."""
    if not isinstance(calcium, zarr.Array) or calcium.ndim != 3:
        raise ValueError("calcium is no array of frames, rows and columns")
    sharding = calcium.metadata.codecs[0]
    parts = {
        "data type": (calcium.dtype, np.dtype("float32")),
        "chunks": (calcium.chunks, (1, *calcium.shape[1:])),
        "shards": (calcium.shards, (FRAMES_PER_SHARD, *calcium.shape[1:])),
        "fill value": (str(calcium.fill_value), "nan"),
        "serializer": (calcium.serializer, BytesCodec(endian=Endian.little)),
        "last codec": (calcium.compressors[-1:], (Crc32cCodec(),)),
        "index": (isinstance(sharding, ShardingCodec) and sharding.index_location.value, "end"),
    }
    for name, (found, expected) in parts.items():
        if found != expected:
            raise ValueError(f"the {name} of calcium is {found}, and it must be {expected}")


def _verify(path: Path, attributes: dict[str, Any], shape: tuple[int, int, int]) -> None:
    config = attributes.get("config")
    if not isinstance(config, dict):
        raise _unfit(path, "config", config, "a section of keys and values")
    require_current(path, attributes)
    kind = config.get("kind", SAC)
    if kind not in (SAC, *SYNTHETIC_KINDS):
        raise _unfit(path, "config.kind", kind, f"one of {', '.join((SAC, *SYNTHETIC_KINDS))}")
    made_from = _configuration(path, config, kind)
    expected_shape = (made_from.recorded_frames, made_from.rows, made_from.columns)
    if shape != expected_shape:
        raise InputError(
            f"{path / 'calcium' / 'zarr.json'}: shape is {list(shape)}; it must be {list(expected_shape)}, as the "
            f"recording's config says: {remedy_for(path)}"
        )
    transient = made_from.transient if isinstance(made_from, RecordingConfig) else None
    expected = {
        "frame_interval": made_from.frame_interval,
        "first_frame_time": 0.0 if transient is None else transient + made_from.frame_interval,
        "spacing": made_from.spacing,
        "seed": made_from.seed,
    }
    for name, value in expected.items():
        found = attributes.get(name)
        if not _is_number(found) or not isclose(found, value, rel_tol=1e-12):
            raise _unfit(path, name, found, f"{value}, as its config says")
    _verify_progress(path, attributes, made_from)
    _verify_shards(path, attributes)


def _configuration(path: Path, config: dict[str, Any], kind: Any) -> RecordingConfig | SyntheticConfig:
    """Return the checked configuration; of a synthetic recording, the keys that all of them share."""
    cls = RecordingConfig if kind == SAC else SyntheticConfig
    own = config if kind == SAC else {each.name: config[each.name] for each in fields(cls) if each.name in config}
    try:
        made_from = typed(cls, {key: value for key, value in own.items() if key != "kind"}, "config")
    except InputError as error:
        raise InputError(f"{path / 'zarr.json'}: {error}: {remedy_for(path)}") from error
    for key, value in json.loads(json.dumps(asdict(made_from))).items():
        if own.get(key) != value:  # a text that stands for a number
            raise _unfit(path, f"config.{key}", own.get(key), f"as a recording has it, {_short(value)}")
    return made_from


def _verify_progress(path: Path, attributes: Mapping[str, Any], made_from: RecordingConfig | SyntheticConfig) -> None:
    """Verify how much there is of it."""
    complete, valid, total = attributes.get("complete"), attributes.get("valid_frames"), made_from.recorded_frames
    if not isinstance(complete, bool):
        raise _unfit(path, "complete", complete, "true or false")
    if type(valid) is not int or not 0 <= valid <= total:
        raise _unfit(path, "valid_frames", valid, f"a whole number from 0 to {total}, the frames of its array")
    if complete and valid != total:
        raise _unfit(path, "valid_frames", valid, f"{total}, for the recording is complete")
    if complete:
        return
    if valid % FRAMES_PER_SHARD and valid != total:
        raise _unfit(path, "valid_frames", valid, f"a multiple of {FRAMES_PER_SHARD}, or {total}, all frames")
    state = path / files.STATE
    if valid and not state.is_file():  # it is written before the frames are called valid
        raise _unfit(
            path, "complete", complete, f"true where {files.STATE}, from which it would be resumed, is missing"
        )
    written = _frames_at(state, made_from)
    if written is not None and valid not in (written, written - FRAMES_PER_SHARD, total):
        raise _unfit(path, "valid_frames", valid, f"{written}, as {files.STATE} says")


def _frames_at(state: Path, made_from: RecordingConfig | SyntheticConfig) -> int | None:
    """Frames that were written when the state was kept; None where there is none that can be read, which resuming it
    will say."""
    if not state.is_file() or not isinstance(made_from, RecordingConfig):
        return None
    try:
        with np.load(state, allow_pickle=False) as content:
            return max(0, int(content["frame"]) - made_from.transient_frames)
    except Exception:  # NumPy parses what may be any bytes
        return None


def _verify_shards(path: Path, attributes: Mapping[str, Any]) -> None:
    valid, noted = attributes["valid_frames"], attributes.get("shards")
    count = ceil(valid / FRAMES_PER_SHARD)
    if noted is not None and (not isinstance(noted, list) or len(noted) != count):  # older recordings have none
        raise _unfit(path, "shards", noted, f"a list of {count} fingerprints, one for each shard")
    for number in range(count):
        try:
            found = fingerprint(shard_file(path, number), frames_in(number, valid))
        except ValueError as error:
            raise damaged(path, number, valid, str(error)) from error
        if noted is not None and found != noted[number]:
            other = f"that of place {noted.index(found)}" if found in noted else "another than was written there"
            raise damaged(path, number, valid, f"the shard is {other}")


def damaged(path: Path, shard: int, valid_frames: int, reason: str) -> InputError:
    """Return the error of a shard that is not as it was written."""
    first = shard * FRAMES_PER_SHARD
    return InputError(
        f"{path / 'calcium' / 'c' / str(shard)}, frames {first} to {first + frames_in(shard, valid_frames)} "
        f"(exclusive), is damaged ({reason}): {remedy_for(path)}"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _unfit(path: Path, name: str, value: Any, rule: str) -> InputError:
    said = "not set" if value is None else _short(value)
    return InputError(f"{path / 'zarr.json'}: {name} is {said}; it must be {rule}: {remedy_for(path)}")


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"


def remedy_for(path: Path) -> str:
    """Return what to do where the recording at `path` is damaged."""
    if _of_artifact(path):
        return f"remove {path.parent}, and it is made anew"
    return f"remove {path} and simulate it anew"


def _of_artifact(path: Path) -> bool:
    """Whether a recording is in the folder of an artifact, which is then removed as a whole."""
    return path.name == files.RECORDING and (path.parent / files.STATUS).exists()
