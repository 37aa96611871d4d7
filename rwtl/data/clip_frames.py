"""Single frames of one part of a recording, normalised, as fast as random reads need them."""

import os
from typing import Any

import numpy as np
import zarr
from jaxtyping import Float, Float32, Int

from rwtl.data.calcium_range import CalciumHistogram
from rwtl.waves.config import FRAMES_PER_SHARD
from rwtl.waves.store import Recording


class PartFrames:
    """The frames of one part of a recording; all are read once, and checked, when it is made.

    The first of them, as many as `memory` holds, stay in memory. The others are read from Zarr one by one.

    Args:
        recording: open.
        numbers: of the part's frames in the recording.
        active_above: a cell is active above this calcium concentration (nM).
        memory: bytes for frames.
        histogram: counts the calcium of all frames, where one is given.

    Attributes:
        active: the fraction of active cells of each frame.
        kept_bytes: what the frames in memory take up.

    Raises:
        InputError: The bytes of a frame are damaged or missing.
    """

    def __init__(
        self,
        recording: Recording,
        numbers: range,
        active_above: float,
        memory: int,
        histogram: CalciumHistogram | None = None,
    ):
        self.recording = recording
        self.numbers = numbers
        self.active = np.empty(len(numbers))
        kept = min(len(numbers), memory // (4 * recording.shape[0] * recording.shape[1]))
        self._kept = np.empty((kept, *recording.shape), np.float32)
        self._array: tuple[int, zarr.Array] | None = None  # and the process that opened it
        for first in range(0, len(numbers), FRAMES_PER_SHARD):
            chunk = numbers[first : first + FRAMES_PER_SHARD]
            frames = recording.frames(chunk.start, chunk.stop)
            self.active[first : first + len(frames)] = (frames > active_above).mean(axis=(1, 2))
            if histogram is not None:
                histogram.add(frames)
            self._kept[first : first + len(frames)] = frames[: max(kept - first, 0)]

    @property
    def kept_bytes(self) -> int:
        return self._kept.nbytes

    def prepare(self, calcium_range: tuple[float, float], order: Int[np.ndarray, " cells"] | None) -> None:
        """Say, once, what frames are made of: calcium (nM) that becomes 0 and 1, and another order of the cells."""
        self._range, self._order = calcium_range, order
        for k in range(len(self._kept)):
            self._kept[k] = self._prepared(self._kept[k])

    def frame(self, number: int) -> Float32[np.ndarray, "row column"]:
        """Return a frame of the part by its number in the recording, in 0..1; not to be changed.

        Raises:
            InputError: Its bytes are damaged or missing.
        """
        position = self.numbers.index(number)
        return self._kept[position] if position < len(self._kept) else self._prepared(self._read(number))

    def _read(self, number: int) -> Float32[np.ndarray, "row column"]:
        try:
            frame = self._opened()[number]
        except Exception:  # what is wrong, and in which file, is the recording's to say
            return self.recording.frames(number, number + 1)[0]
        return frame if np.isfinite(frame).all() else self.recording.frames(number, number + 1)[0]

    def _opened(self) -> zarr.Array:
        # Opened once in each process: opening takes as long as reading, and workers must not share what is open.
        if self._array is None or self._array[0] != os.getpid():
            self._array = (os.getpid(), zarr.open_array(self.recording.path / "calcium", mode="r"))
        return self._array[1]

    def _prepared(self, frame: Float[np.ndarray, "row column"]) -> Float32[np.ndarray, "row column"]:
        low, high = self._range
        if self._order is not None:
            frame = frame.reshape(-1)[self._order].reshape(frame.shape)
        frame = (frame - np.float32(low)) / np.float32(high - low)
        return np.clip(frame, 0, 1, out=frame)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_array": None}
