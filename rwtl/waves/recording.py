"""The write side of a recording: frames out of a running simulation into a Zarr v3 group."""

import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from rwtl.errors import InputError
from rwtl.waves.config import RecordingConfig

# A frame is a chunk, so that any frame is read alone; a shard is a file, so that there are few files.
FRAMES_PER_SHARD = 64


class RecordingWriter:
    """Writes one recording: the array `calcium`, float32 (frame, row, column) in nM, in the Zarr group at `path`.

    The array has its full length from the start, and frames go in by whole shards, so memory does not grow with the
    duration. Group attributes, updated only after the frames they speak of: `valid_frames`, the frames that a reader
    may use, and `complete`. The others never change: `frame_interval` and `first_frame_time` (s), `spacing` (µm),
    `seed`, and `config`, everything that determined the recording.

    Raises:
        InputError: `path` exists, and is not a recording that was left incomplete.
    """

    def __init__(self, path: Path, config: RecordingConfig) -> None:
        _require_free(path)
        self._shape = (config.rows, config.columns)
        self._frames = config.simulated_frames - config.transient_frames
        # Made beside its place and moved there, so that no reader finds a recording without its attributes.
        draft = path.with_name(f"{path.name}.draft")
        group = zarr.open_group(draft, mode="w", zarr_format=3)
        group.create_array(
            "calcium",
            shape=(self._frames, *self._shape),
            dtype="float32",
            chunks=(1, *self._shape),
            shards=(FRAMES_PER_SHARD, *self._shape),
            compressors=[BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"), Crc32cCodec()],
            fill_value=float("nan"),
            attributes={"units": "nM"},
            dimension_names=("frame", "row", "column"),
        )
        group.attrs.update(
            {
                "valid_frames": 0,
                "complete": False,
                "frame_interval": config.frame_interval,
                "first_frame_time": config.transient + config.frame_interval,
                "spacing": config.spacing,
                "seed": config.seed,
                "config": asdict(config),
            }
        )
        if path.exists():
            shutil.rmtree(path)
        draft.rename(path)
        self._group = zarr.open_group(path, mode="r+")
        self._calcium = self._group["calcium"]
        self._shard = np.empty((FRAMES_PER_SHARD, *self._shape), np.float32)
        self._held = 0
        self._written = 0

    def write(self, frame: np.ndarray) -> None:
        """Append one frame, (row, column) in nM."""
        if self._written + self._held == self._frames:
            raise ValueError(f"the recording has room for {self._frames} frames, and one more came")
        self._shard[self._held] = frame
        self._held += 1
        if self._held == FRAMES_PER_SHARD:
            self._flush()

    def finish(self) -> None:
        """Write the frames that do not fill a shard, and mark the recording complete."""
        missing = self._frames - self._written - self._held
        if missing:
            raise ValueError(f"the recording lacks {missing} of its {self._frames} frames")
        self._flush()
        self._group.attrs["complete"] = True

    def _flush(self) -> None:
        stop = self._written + self._held
        self._calcium[self._written : stop] = self._shard[: self._held]
        self._written, self._held = stop, 0
        self._group.attrs["valid_frames"] = stop


def _require_free(path: Path) -> None:
    if not path.exists():
        return
    try:
        complete = zarr.open_group(path, mode="r").attrs["complete"]
    except (FileNotFoundError, KeyError, ValueError, NotADirectoryError):
        raise InputError(f"{path} exists and is not a recording: remove it, or record elsewhere") from None
    if complete:
        raise InputError(f"{path} is a complete recording: remove it, or record elsewhere")
