"""The write side of a recording: frames out of a running simulation into a Zarr v3 group."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import zarr
from jaxtyping import Float32
from zarr.codecs import BloscCodec, Crc32cCodec

from rwtl.claim import LEASE, Claim, Holder, claim
from rwtl.errors import InputError
from rwtl.waves.config import FRAMES_PER_SHARD, RecordingConfig
from rwtl.waves.parameters import MODEL_VERSION
from rwtl.waves.state import Snapshot, load_snapshot
from rwtl.waves.store import FORMAT, require_current

STATE = "state.npz"
# For the state, the attributes and what the file system needs beside the frames.
_MARGIN = 50e6  # bytes


class RecordingWriter:
    """Writes one recording: the array `calcium`, float32 (frame, row, column) in nM, in the Zarr group at `path`.

    The array has its full length from the start, and frames go in by whole shards from a thread of their own, so memory
    does not grow with the duration and the simulation need not wait. With each shard the state is kept in `state.npz`,
    from which an unfinished recording goes on. Group attributes: `valid_frames`, the frames that a reader may use, and
    `complete`, both updated only after the frames and the state they speak of. The others never change:
    `frame_interval` and `first_frame_time` (s), `spacing` (µm), `seed`, `config`, everything that determined the
    recording, `model_version` and `format`.

    A context manager: what was handed over is written before it closes, whatever ended the simulation.

    Attributes:
        snapshot: where an unfinished recording goes on, or None where it starts.

    Raises:
        InputError: `path` exists, and is not an incomplete recording of the same configuration and model.
        InputError: another process is writing it, or the disk has less room than it may take.
    """

    def __init__(self, path: Path, config: RecordingConfig) -> None:
        self._path, self._config = path, config
        self._claim = _claimed(path)
        try:
            self.snapshot = _resumed(path, config)
            _require_room(path, (config.recorded_frames, config.rows, config.columns))
            if self.snapshot is None:
                _create(path, config)
            self._group = zarr.open_group(path, mode="r+")
            self._calcium = self._group["calcium"]
            self._written = self._whole(self.snapshot.frame if self.snapshot else 0)
            if self._group.attrs["valid_frames"] != self._written:  # killed between the state and the attributes
                self._group.attrs["valid_frames"] = self._written
        except BaseException:
            self._claim.release()
            raise
        self._frame = self.snapshot.frame if self.snapshot else 0
        self._shard = np.empty((FRAMES_PER_SHARD, config.rows, config.columns), np.float32)
        self._held = 0
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._pending: Future | None = None

    def _whole(self, frame: int) -> int:
        """Frames of the recording after so many simulated ones."""
        return max(0, frame - self._config.transient_frames)

    def __enter__(self) -> "RecordingWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True)
        if self._group.attrs["complete"]:
            self._claim.finish(lambda: None)
        else:
            self._claim.release()

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
        self._group.attrs["complete"] = True
        (self._path / STATE).unlink(missing_ok=True)

    def _hand_over(self, snapshot: Snapshot | None) -> None:
        self._wait()
        frames, self._held = self._shard[: self._held], 0
        self._shard = np.empty_like(self._shard)
        self._pending = self._thread.submit(self._flush, frames, snapshot)

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()

    def _flush(self, frames: Float32[np.ndarray, "frame row column"], snapshot: Snapshot | None) -> None:
        if len(frames):
            self._calcium[self._written : self._written + len(frames)] = frames
            self._written += len(frames)
        if snapshot is not None:
            snapshot.save(self._path / STATE)
        if len(frames):
            self._group.attrs["valid_frames"] = self._written


def _claimed(path: Path) -> Claim:
    silent = 0.0  # s since the last sign of life of another writer

    def waiting(writer: Holder | None, silence: float) -> None:
        nonlocal silent
        if writer is None:
            return
        if writer.dead() is False or silence < silent:  # which it cannot give after its death
            raise InputError(f"{path} is being written by {writer}: wait for it, stop it, or record elsewhere")
        if silent == 0:
            print(f"{path} was written by {writer}: waiting for a sign of life, {LEASE:g} s at most", flush=True)
        silent = max(silence, 1e-9)

    return claim(path.with_name(f"{path.name}.claims"), lambda: False, waiting)


def _resumed(path: Path, config: RecordingConfig) -> Snapshot | None:
    """Where an unfinished recording goes on; None where there is none, or nothing of it was kept."""
    if not path.exists():
        return None
    try:
        attributes = dict(zarr.open_group(path, mode="r").attrs)
        complete, recorded = attributes["complete"], attributes["config"]
    except (FileNotFoundError, KeyError, ValueError, NotADirectoryError):
        raise InputError(f"{path} exists and is not a recording: remove it, or record elsewhere") from None
    if complete:
        raise InputError(f"{path} is a complete recording: remove it, or record elsewhere")
    require_current(path, attributes)
    wanted = json.loads(json.dumps(asdict(config)))
    if recorded != wanted:
        raise InputError(
            f"{path} is an unfinished recording of another configuration ({_difference(recorded, wanted)}): remove it, "
            "or record elsewhere"
        )
    for partial in path.rglob("*.partial"):  # files in the making when a writer was killed
        partial.unlink()
    if not (path / STATE).exists() and attributes["valid_frames"] == 0:
        return None
    return load_snapshot(path / STATE)


def _difference(recorded: Any, wanted: Any, name: str = "recording") -> str:
    """The first value in which two configurations differ."""
    if isinstance(recorded, dict) and isinstance(wanted, dict):
        for key in [*recorded, *wanted]:
            if recorded.get(key) != wanted.get(key):
                return _difference(recorded.get(key), wanted.get(key), f"{name}.{key}")
    return f"{name} is {recorded} in it and {wanted} here"


def _require_room(path: Path, shape: tuple[int, int, int]) -> None:
    # Noise hardly compresses: the array's full size is what it may come to, less what is there.
    frames, rows, columns = shape
    needed = 4.0 * frames * rows * columns + _MARGIN
    needed -= sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.exists() else 0
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise InputError(
            f"{path}: {frames} frames of {rows} × {columns} cells take up to "
            f"{needed / 1e9:.2f} GB more, and {free / 1e9:.2f} GB are free: make room, record elsewhere, or reduce "
            "recording.duration or the lattice, or enlarge recording.frame_interval"
        )


def _create(path: Path, config: RecordingConfig) -> None:
    attributes = {
        "valid_frames": 0,
        "complete": False,
        "frame_interval": config.frame_interval,
        "first_frame_time": config.transient + config.frame_interval,
        "spacing": config.spacing,
        "seed": config.seed,
        "config": asdict(config),
        "model_version": MODEL_VERSION,
    }
    # Made beside its place and moved there, so that no reader finds a recording without its attributes.
    draft = _draft_of(path)
    _create_group(draft, (config.recorded_frames, config.rows, config.columns), attributes)
    if path.exists():
        shutil.rmtree(path)
    draft.rename(path)


def _draft_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.draft")


def _create_group(path: Path, shape: tuple[int, int, int], attributes: Mapping[str, Any]) -> zarr.Group:
    """Make the Zarr group of a recording without frames, over what there may be at `path`."""
    group = zarr.open_group(path, mode="w", zarr_format=3)
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
    return group


def write_whole(
    path: Path,
    frames: Iterator[Float32[np.ndarray, "row column"]],
    shape: tuple[int, int, int],
    attributes: Mapping[str, Any],
    progress: Callable[[float], None] | None = None,
) -> None:
    """Write a recording whose frames are cheap to make; nothing is at `path` before it is complete.

    Args:
        path: of the Zarr group.
        frames: calcium in nM, as many as `shape` says, which is (frames, rows, columns).
        attributes: those of a recording but `valid_frames`, `complete` and `format`.
        progress: called after every frame with how many have been made.

    Raises:
        InputError: something is at `path`, another process writes it, or the disk is too small for it.
    """
    held = _claimed(path)
    finished = False
    try:
        if path.exists():
            raise InputError(f"{path} exists: remove it, or record elsewhere")
        _require_room(path, shape)
        draft = _draft_of(path)
        group = _create_group(draft, shape, {**attributes, "valid_frames": shape[0], "complete": True})
        for start in range(0, shape[0], FRAMES_PER_SHARD):
            stop = min(start + FRAMES_PER_SHARD, shape[0])
            shard = np.empty((stop - start, *shape[1:]), np.float32)
            for place in range(stop - start):
                shard[place] = next(frames)
                if progress is not None:
                    progress(start + place + 1)
            group["calcium"][start:stop] = shard
        draft.rename(path)
        finished = True
    finally:
        if finished:
            held.finish(lambda: None)
        else:
            held.release()
