"""The Zarr format of a recording: its write side, for a running simulation, and its read side."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from jaxtyping import Float32
from zarr.codecs import BloscCodec, Crc32cCodec

from rwtl import files
from rwtl.errors import InputError
from rwtl.program import call_of
from rwtl.progress import require_ours
from rwtl.waves.config import FRAMES_PER_SHARD, SAC, RecordingConfig
from rwtl.waves.model.parameters import MODEL_VERSION
from rwtl.waves.model.state import Snapshot, load_snapshot
from rwtl.waves.verification import (
    FORMAT,
    damaged,
    fingerprint,
    frames_in,
    remedy_for,
    shard_file,
    verified,
)

_MARGIN = 50e6  # bytes, for the state, the attributes and what the file system needs beside the frames


@dataclass(frozen=True)
class Recording:
    """A recording as it was when it was opened; open it again to see frames that were written since.

    Attributes:
        path: of the Zarr group.
        valid_frames: frames that can be read.
        complete: whether the simulation reached its end.
        frame_interval: between frames, s.
        first_frame_time: model time of frame 0, s.
        spacing: distance between neighbouring cells, µm.
        shape: (rows, columns) of a frame.
        config: everything that determined it, by the keys of the configuration.
    """

    path: Path
    valid_frames: int
    complete: bool
    frame_interval: float
    first_frame_time: float
    spacing: float
    shape: tuple[int, int]
    config: dict[str, Any] = field(repr=False)

    @property
    def kind(self) -> str:
        """Origin of the recording: `sac`, the simulation, or a generator of `synthetic.GENERATORS`."""
        return self.config.get("kind", SAC)

    @property
    def periodic(self) -> bool:
        """Whether opposite borders of the lattice are neighbours; those of a synthetic recording never are."""
        return self.kind == SAC and self.config["coupling"]["boundary"] == "periodic"

    def frames(self, start: int, stop: int) -> Float32[np.ndarray, "frame row column"]:
        """Calcium of the frames start ≤ frame < stop, in nM.

        Raises:
            InputError: the range is empty or not within the valid frames, or their bytes are damaged.
        """
        if not 0 <= start < stop <= self.valid_frames:
            raise InputError(
                f"{self.path}: frames {start} to {stop} (exclusive) are asked for, and frames 0 to {self.valid_frames} "
                f"(exclusive) are valid in this {'complete' if self.complete else 'incomplete'} recording"
            )
        try:
            calcium = zarr.open_array(self.path / "calcium", mode="r")[start:stop]
        except Exception as error:
            raise self._damaged(start, stop, f"{type(error).__name__}: {error}") from error
        if not np.isfinite(calcium).all():  # Zarr reads what is not there as the fill value
            raise self._damaged(start, stop, "frames are missing")
        return calcium

    def require_frames(self) -> None:
        """Raise InputError where no frame can be read yet."""
        if self.valid_frames == 0:
            raise InputError(f"{self.path} has no valid frame yet: let the simulation run on")

    def _damaged(self, start: int, stop: int, reason: str) -> InputError:
        """Name the shard of the range that cannot be read, or all of them if it takes them together to fail."""
        shards = range(start // FRAMES_PER_SHARD, (stop - 1) // FRAMES_PER_SHARD + 1)
        if len(shards) > 1:
            for shard in shards:
                first = max(start, shard * FRAMES_PER_SHARD)
                try:
                    self.frames(first, min(stop, (shard + 1) * FRAMES_PER_SHARD))
                except InputError as error:
                    return error
        return InputError(
            f"{self.path / 'calcium' / 'c' / str(shards[0])}, frames {start} to {stop} (exclusive), is damaged "
            f"({reason}): {remedy_for(self.path)}"
        )

    def time_of(self, frame: int) -> float:
        """Model time of a frame, s."""
        return self.first_frame_time + frame * self.frame_interval


def open_recording(path: str | Path) -> Recording:
    """Open a recording, complete or not; open it again to see frames that were written since.

    Args:
        path: of the Zarr group, such as `outputs/recording/<digest>/recording`.

    Raises:
        InputError: there is nothing at `path`, something else, a recording of another version of the model, or one that
            is not as it was written.

    >>> recording = rwtl.open_recording("waves.zarr")
    >>> recording.shape, recording.frame_interval, recording.frames(0, 2).dtype.name
    ((24, 24), 0.1, 'float32')
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist: give the path of a recording, or make one with {call_of('simulate')}")
    attributes, shape = verified(path)
    names = ("valid_frames", "complete", "frame_interval", "first_frame_time", "spacing", "config")
    return Recording(path, shape=shape[1:], **{name: attributes[name] for name in names})


def opened(recording: Recording | str | Path) -> Recording:
    """Return a recording that may be open already."""
    return recording if isinstance(recording, Recording) else open_recording(recording)


class RecordingWriter:
    """Writer of one recording: the array `calcium`, float32 (frame, row, column) in nM, in the Zarr group at `path`.

    The array has its full length from the start, and frames go in by whole shards from a thread of their own, so memory
    does not grow with the duration and the simulation need not wait. With each shard the state is kept in `state.npz`,
    from which an unfinished recording is resumed. Group attributes: `valid_frames`, those that a reader may use,
    `shards`, a fingerprint of each shard of them, and `complete`, all updated only when the frames and the state that
    they speak of have reached the disk. The others never change: `frame_interval` and `first_frame_time` (s), `spacing`
    (µm), `seed`, `config`, everything that determined the recording, `model_version` and `format`.

    A context manager: what was handed over is written before it closes, whatever ended the simulation. Only one process
    may write a recording at a time, and nothing here prevents a second one: recordings that `rwtl.pipeline` makes are
    protected by the claim of their artifact.

    Attributes:
        snapshot: the state from which an unfinished recording is resumed, or None for a new one.

    Raises:
        InputError: `path` exists, and is not an incomplete recording of the same configuration and model.
        InputError: the disk has less room than it may take.
    """

    def __init__(self, path: Path, config: RecordingConfig) -> None:
        self._path, self._config = path, config
        self.snapshot = _resumed(path, config)
        _require_room(path, (config.recorded_frames, config.rows, config.columns))
        if self.snapshot is None:
            _create(path, config)
        self._group = zarr.open_group(path, mode="r+")
        self._calcium = self._group["calcium"]
        self._frame = self.snapshot.frame if self.snapshot else 0
        self._written = max(0, self._frame - config.transient_frames)
        attributes = self._group.attrs
        self._shards = _fingerprints(path, attributes.get("shards", []), self._written)
        # Killed between the state and the attributes, or begun by a version that noted no fingerprints.
        if (attributes["valid_frames"], attributes.get("shards")) != (self._written, self._shards):
            self._note(valid_frames=self._written, shards=list(self._shards))
        self._shard = np.empty((FRAMES_PER_SHARD, config.rows, config.columns), np.float32)
        self._held = 0
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._pending: Future | None = None

    def __enter__(self) -> "RecordingWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self._thread.shutdown(wait=True)

    def write(self, number: int, calcium: Float32[np.ndarray, "row column"], snapshot: Snapshot | None) -> None:
        """Append one frame; frames of the transient are left out, and their snapshots kept.

        Args:
            number: frame intervals simulated since model time 0.
            calcium: nM.
            snapshot: the state at that frame, where the configuration wants it.
        """
        if number != self._frame + 1 or number > self._config.simulated_frames:
            raise ValueError(f"frame {number} comes after {self._frame} of {self._config.simulated_frames}")
        self._frame = number
        if number > self._config.transient_frames:
            self._shard[self._held] = calcium
            self._held += 1
        if snapshot is not None or self._held == FRAMES_PER_SHARD:
            self._hand_over(snapshot)

    def finish(self) -> None:
        """Write the frames that do not fill a shard, and mark the recording complete."""
        if self._frame < self._config.simulated_frames:
            raise ValueError(f"the recording ends after {self._frame} of {self._config.simulated_frames} frames")
        self._hand_over(None)
        self._wait()
        self._note(complete=True)
        (self._path / files.STATE).unlink(missing_ok=True)

    def _hand_over(self, snapshot: Snapshot | None) -> None:
        self._wait()
        frames, self._held = self._shard[: self._held], 0
        self._shard = np.empty_like(self._shard)
        self._pending = self._thread.submit(self._flush, frames, snapshot)

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()

    def _flush(self, frames: Float32[np.ndarray, "frame row column"], snapshot: Snapshot | None) -> None:
        require_ours()  # Zarr would make the folder again that a successor has taken away
        if len(frames):
            shard = shard_file(self._path, self._written // FRAMES_PER_SHARD)
            self._calcium[self._written : self._written + len(frames)] = frames
            self._written += len(frames)
            files.sync(shard, self._path)
            self._shards.append(fingerprint(shard, len(frames)))
        if snapshot is not None:
            snapshot.save(self._path / files.STATE)
        if len(frames):
            self._note(valid_frames=self._written, shards=list(self._shards))

    def _note(self, **attributes: Any) -> None:
        """Change attributes in one step, and wait until they have reached the disk."""
        self._group = self._group.update_attributes(attributes)
        files.sync(self._path / "zarr.json", self._path)


def _fingerprints(path: Path, noted: list[str], written: int) -> list[str]:
    """Return those of the shards that are written: a kill, or an earlier version, may have left some out."""
    count = written // FRAMES_PER_SHARD
    found = noted[:count]
    for number in range(len(found), count):
        try:
            found.append(fingerprint(shard_file(path, number), FRAMES_PER_SHARD))
        except ValueError as error:
            raise damaged(path, number, written, str(error)) from error
    return found


def _resumed(path: Path, config: RecordingConfig) -> Snapshot | None:
    """Return the state from which to resume a recording; None where there is none, or nothing of it was kept."""
    if not path.exists():
        return None
    if not (path / "zarr.json").is_file():
        raise InputError(f"{path} exists and is not a recording: remove it, or record elsewhere")
    attributes = verified(path).attributes
    if attributes["complete"]:
        raise InputError(f"{path} is a complete recording: remove it, or record elsewhere")
    recorded = attributes["config"]
    wanted = json.loads(json.dumps(asdict(config)))
    if recorded != wanted:
        raise InputError(
            f"{path} is an unfinished recording of another configuration ({_difference(recorded, wanted)}): remove it, "
            "or record elsewhere"
        )
    for partial in path.rglob("*.partial"):  # files in the making when a writer was killed
        partial.unlink()
    if not os.path.lexists(path / files.STATE) and attributes["valid_frames"] == 0:
        return None
    snapshot = load_snapshot(path / files.STATE)
    shapes = {value.shape for value in snapshot.values.values()}
    is_kept = config.has_snapshot(snapshot.frame) and 0 <= snapshot.frame <= config.simulated_frames
    if not is_kept or shapes != {(config.rows, config.columns)}:
        raise InputError(
            f"{path / files.STATE} is the state after {snapshot.frame} frames of {_listed(shapes)} cells, and this "
            f"recording keeps none such: remove {path} to simulate it anew"
        )
    return snapshot


def _listed(shapes: set[tuple[int, ...]]) -> str:
    return " and ".join(" × ".join(map(str, shape)) for shape in sorted(shapes))


def _difference(recorded: Any, wanted: Any, name: str = "recording") -> str:
    """Name the first value in which two configurations differ."""
    if isinstance(recorded, dict) and isinstance(wanted, dict):
        for key in [*recorded, *wanted]:
            if recorded.get(key) != wanted.get(key):
                return _difference(recorded.get(key), wanted.get(key), f"{name}.{key}")
    return f"{name} is {recorded} in it and {wanted} here"


def _require_room(path: Path, shape: tuple[int, int, int]) -> None:
    """Refuse a recording that the disk has no room for; the folder that it goes to is made where it is missing."""
    # Noise hardly compresses: the array's full size is what it may come to, less what is there.
    frames, rows, columns = shape
    needed = 4.0 * frames * rows * columns + _MARGIN
    needed -= sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.exists() else 0
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise InputError(
            f"{path}: {frames} frames of {rows} × {columns} cells take up to "
            f"{needed / 1e9:.2f} GB more, and {free / 1e9:.2f} GB are free: make room, record elsewhere, or reduce "
            "recording.duration or the lattice, or enlarge recording.frame_interval"
        )


def _create(path: Path, config: RecordingConfig) -> None:
    """Make a recording without frames, in place of one of which nothing was kept."""
    attributes = {
        "valid_frames": 0,
        "shards": [],
        "complete": False,
        "frame_interval": config.frame_interval,
        "first_frame_time": config.transient + config.frame_interval,
        "spacing": config.spacing,
        "seed": config.seed,
        "config": asdict(config),
        "model_version": MODEL_VERSION,
    }
    draft, _ = _draft(path, (config.recorded_frames, config.rows, config.columns), attributes)
    if path.exists():
        shutil.rmtree(path)
    _publish(draft, path)


def _publish(draft: Path, path: Path) -> None:
    """Move a draft to its place when all of it has reached the disk."""
    files.sync_tree(draft)
    draft.rename(path)
    files.sync(path, path.parent)


def _draft(path: Path, shape: tuple[int, int, int], attributes: Mapping[str, Any]) -> tuple[Path, zarr.Group]:
    """Make the Zarr group of a recording without frames beside its place, over an earlier draft.

    Whoever made it moves it to `path`, so that no reader finds a recording without its attributes.
    """
    draft = path.with_name(f"{path.name}.draft")
    group = zarr.open_group(draft, mode="w", zarr_format=3)
    group.create_array(
        "calcium",
        shape=shape,
        dtype="float32",
        chunks=(1, *shape[1:]),
        shards=(FRAMES_PER_SHARD, *shape[1:]),
        compressors=[BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"), Crc32cCodec()],
        fill_value=float("nan"),
        attributes={"units": "nM"},
        dimension_names=("frame", "row", "column"),
    )
    group.attrs.update({**attributes, "format": FORMAT})
    return draft, group


def write_whole(
    path: Path,
    frames: Iterator[Float32[np.ndarray, "row column"]],
    shape: tuple[int, int, int],
    attributes: Mapping[str, Any],
    progress: Callable[[float], None] | None = None,
) -> None:
    """Write a recording whose frames are cheap to make; nothing is at `path` before it is complete.

    Only one process may write it at a time, as with `RecordingWriter`.

    Args:
        path: of the Zarr group.
        frames: calcium in nM, as many as `shape` says, which is (frames, rows, columns).
        attributes: those of a recording but `valid_frames`, `shards`, `complete` and `format`.
        progress: called after every frame with how many have been made.

    Raises:
        InputError: something is at `path`, or the disk is too small for it.
    """
    if path.exists():
        raise InputError(f"{path} exists: remove it, or record elsewhere")
    _require_room(path, shape)
    draft, group = _draft(path, shape, {**attributes, "valid_frames": shape[0], "complete": True})
    for start in range(0, shape[0], FRAMES_PER_SHARD):
        shard = np.empty((min(FRAMES_PER_SHARD, shape[0] - start), *shape[1:]), np.float32)
        for place in range(len(shard)):
            shard[place] = next(frames)
            if progress is not None:
                progress(start + place + 1)
        group["calcium"][start : start + len(shard)] = shard
    count = ceil(shape[0] / FRAMES_PER_SHARD)
    shards = [fingerprint(shard_file(draft, number), frames_in(number, shape[0])) for number in range(count)]
    group.update_attributes({"shards": shards})
    _publish(draft, path)
