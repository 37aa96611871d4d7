"""Clips (I1, I2, I3, …) of normalised calcium, cut from recordings."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from jaxtyping import Float, Float32, Int
from torch import Tensor
from torch.utils.data import Dataset

from rwtl.clips.config import ClipsConfig, Split, frames_of, require_room, stride_of, zoom_fraction
from rwtl.clips.transforms import CropAndZoom, enlarge, rotate_and_flip
from rwtl.errors import InputError
from rwtl.random import CELLS_IN_SPACE, CLIPS_IN_TIME, counter_rng, evenly
from rwtl.waves.config import FRAMES_PER_SHARD
from rwtl.waves.store import Recording, opened

MEMORY = 512 * 2**20  # bytes
FEWEST_SHUFFLED = 8  # clips of a recording's part that shuffling in time needs: among fewer, some would stay in order
_DROPPED_BITS = 12  # of 32
_SIGN = np.uint32(1 << 31)


class CalciumHistogram:
    """Counts of calcium values, gathered in one pass and constant memory (8 MB).

    A bin holds the floating-point numbers that share their leading bits: whatever the range, it is as wide as 0.05 % of
    its value.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(1 << (32 - _DROPPED_BITS), np.int64)

    def add(self, frames: Float32[np.ndarray, "frame row column"]) -> None:
        """Count the values of frames, finite, in nM."""
        bits = frames.reshape(-1).view(np.uint32)
        # So that bits grow with the number: of negative ones all are flipped, of others the sign.
        ordered = np.where(bits & _SIGN, ~bits, bits | _SIGN) >> np.uint32(_DROPPED_BITS)
        self._counts += np.bincount(ordered, minlength=len(self._counts))

    def percentile(self, percent: float) -> float:
        """Return the value in nM, the middle of its bin, that `percent` (0..100) of what was counted do not exceed."""
        reached = np.cumsum(self._counts)
        number = max(percent / 100 * reached[-1], 1)
        ordered = np.uint32((int(np.searchsorted(reached, number)) << _DROPPED_BITS) | 1 << (_DROPPED_BITS - 1))
        bits = ordered ^ _SIGN if ordered & _SIGN else ~ordered
        return float(bits.view(np.float32))


def robust_range(histogram: CalciumHistogram, percentiles: list[float]) -> tuple[float, float]:
    """Return the calcium concentrations (nM) at two percentiles.

    Raises:
        InputError: They are the same: hardly anything changes in what was counted.
    """
    low, high = (histogram.percentile(percent) for percent in percentiles)
    if not low < high:
        raise InputError(
            f"clips.percentiles {percentiles} of the training part are both {low:.4g} nM, which leaves no range: widen "
            "them, give clips.calcium_range, or choose another recording"
        )
    return low, high


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
        for kept in self._kept:
            kept[:] = self._prepared(kept)

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


@dataclass(frozen=True)
class ClipCounts:
    """How many clips there could be, and how many of them the bounds of `clips.active` removed."""

    candidates: int
    too_quiet: int
    too_active: int

    def __str__(self) -> str:
        return f"{self.candidates} candidates, {self.too_quiet} too quiet, {self.too_active} too active"


class WaveClips(Dataset):
    """The clips of one split of recordings; an item is Float[Tensor, "length 1 h w"] in 0..1, at a pixel for each cell.

    Each recording is split by time: all its training frames come `gap` before its first validation frame. The clips of
    a recording follow one another in order of time, those of the first recording first.

    Args:
        recordings: open, or their paths; they may differ in size and frame interval.
        config: how clips are cut; None for the defaults of ClipsConfig.
        split: `training` or `validation`.
        memory: bytes for frames that stay in memory; the others are read from disk whenever they are needed.
        keys: of ClipsConfig, in place of the configuration's. Where `calcium_range` is None it is measured, for the
            training split alone: the validation split takes the training's.

    Attributes:
        recordings: the open recordings.
        calcium_range: in nM, what becomes 0 and 1.
        active_level: `config.active_above` as it is after normalisation.
        counts: what the activity filter removed.

    Raises:
        InputError: dt is no multiple of a recording's frame interval, a clip or the crop does not fit into a recording,
            the activity filter leaves nothing, a recording is damaged, or its calcium has no range.

    >>> clips = rwtl.WaveClips(["waves.zarr"], dt=0.5, length=3, crop=16, gap=0, active=[0, 1])
    >>> len(clips), tuple(clips[0].shape)
    (28, (3, 1, 24, 24))
    """

    def __init__(
        self,
        recordings: Sequence[Recording | str | Path],
        config: ClipsConfig | None = None,
        split: Split = "training",
        memory: int = MEMORY,
        **keys: Any,
    ):
        self.config = config = replace(config or ClipsConfig(), **keys)
        self.split = split
        self.recordings = [opened(recording) for recording in recordings]
        candidates = [_candidates(recording, config, split) for recording in self.recordings]  # before anything is read
        known = config.calcium_range
        if known is None and split == "validation":
            raise InputError(
                "the validation part is normalised as the training part: hand over its calcium_range, or set "
                "clips.calcium_range"
            )
        histogram = CalciumHistogram() if known is None else None
        self._frames: list[PartFrames] = []
        for recording in self.recordings:
            numbers = frames_of(split, config, recording)
            self._frames.append(PartFrames(recording, numbers, config.active_above, memory, histogram))
            memory -= self._frames[-1].kept_bytes
        low, high = known or robust_range(histogram, config.percentiles)
        self.calcium_range = (float(low), float(high))
        self.active_level = (config.active_above - low) / (high - low)
        for frames in self._frames:
            rows, columns = frames.recording.shape
            order = counter_rng(0, rows, columns, CELLS_IN_SPACE).permutation(rows * columns)
            frames.prepare(self.calcium_range, order if config.shuffle == "space" else None)
        self._choose(candidates)

    def _choose(self, candidates: list[Int[np.ndarray, "_ length"]]) -> None:
        """Keep the candidates, frame numbers by recording, that are active enough and not too active."""
        least, greatest = self.config.active
        activity = [
            frames.active[clips - frames.numbers.start].mean(axis=1)
            for frames, clips in zip(self._frames, candidates, strict=True)
        ]
        every = np.concatenate(activity)
        self.counts = ClipCounts(len(every), int((every < least).sum()), int((every > greatest).sum()))
        kept = [clips[(a >= least) & (a <= greatest)] for clips, a in zip(candidates, activity, strict=True)]
        if self.config.shuffle == "time":
            kept = [_in_other_order(clips, number, self.split) for number, clips in enumerate(kept)]
        self._numbers = np.concatenate(kept)
        self._recording_of = np.repeat(np.arange(len(kept)), [len(clips) for clips in kept])
        if len(self) == 0:
            raise InputError(
                f"clips.active {list(self.config.active)} leaves none of the {len(every)} {self.split} clips: "
                f"{self.counts.too_quiet} have a smaller fraction of active cells than {least:g} and "
                f"{self.counts.too_active} a greater one than {greatest:g} (they have {every.min():.4f} to "
                f"{every.max():.4f}); widen it, change clips.active_above, or choose another recording"
            )

    def __len__(self) -> int:
        return len(self._numbers)

    def where(self, index: int) -> tuple[int, list[int]]:
        """Return the number of a clip's recording and its frame numbers there."""
        return int(self._recording_of[index]), self._numbers[index].tolist()

    def __getitem__(self, index: int) -> Float[Tensor, "length 1 h w"]:
        recording, numbers = self.where(index)
        frames = self._frames[recording]
        return torch.from_numpy(np.stack([frames.frame(number) for number in numbers])[:, None])


def _candidates(recording: Recording, config: ClipsConfig, split: Split) -> Int[np.ndarray, "clips length"]:
    """The frame numbers of all clips of a part of a recording."""
    stride = stride_of(config.dt, recording.frame_interval, recording.path)
    require_room(config, recording)
    numbers = frames_of(split, config, recording)
    span = (config.length - 1) * stride
    if len(numbers) <= span:
        raise InputError(
            f"a clip of {config.length} frames at dt {config.dt} s spans {span + 1} frames, but the {split} part of "
            f"{recording.path} has {len(numbers)} of its {recording.valid_frames} valid frames (clips."
            f"validation_fraction {config.validation_fraction}, clips.gap {config.gap} s); simulate longer, or lower "
            "clips.dt, clips.length or clips.gap"
        )
    return np.array(numbers)[: len(numbers) - span, None] + np.arange(config.length) * stride


def _in_other_order(
    clips: Int[np.ndarray, "clips length"], recording: int, split: Split
) -> Int[np.ndarray, "clips length"]:
    if 0 < len(clips) < FEWEST_SHUFFLED:
        raise InputError(
            f"clips.shuffle is time, but the {split} part of recording {recording + 1} has {len(clips)} clips to "
            f"shuffle, fewer than {FEWEST_SHUFFLED}: some would stay in order; simulate longer, or widen clips.active"
        )
    # Each position on its own, so that every position keeps exactly the frames that it has without the shuffle.
    return counter_rng(0, recording, int(split == "validation"), CLIPS_IN_TIME).permuted(clips, axis=0)


class ZoomedClips(Dataset):
    """Whole frames of clips, zoomed, at most `most` of them evenly spread over time.

    Frames are cut at the right and at the bottom, by as few cells as make their size whole after the zoom, and where
    recordings differ in size, the same for all of them.

    Attributes:
        clips: what they are taken from.
        indices: of the clips there.
        calcium_range, active_level: theirs.
    """

    def __init__(self, clips: WaveClips, most: int):
        self.clips = clips
        self.indices = evenly(len(clips), most)
        self.calcium_range, self.active_level = clips.calcium_range, clips.active_level
        self._zoom = zoom_fraction(clips.config.zoom)
        step = self._zoom.denominator
        self._rows, self._columns = (
            min(recording.shape[axis] for recording in clips.recordings) // step * step for axis in (0, 1)
        )

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Float[Tensor, "length 1 h w"]:
        return enlarge(self.clips[self.indices[index]][..., : self._rows, : self._columns], self._zoom)


def training_part(recordings: Sequence[Path], config: ClipsConfig) -> tuple[WaveClips, list[Callable]]:
    """Return the training clips, and what is done to each of them as its place in the training decides."""
    augmentations: list[Callable] = [CropAndZoom(config.crop, config.zoom)]
    if config.rotations_and_flips:
        augmentations.append(rotate_and_flip)
    return WaveClips(recordings, config, "training"), augmentations


def validation_clips(
    recordings: Sequence[Path], config: ClipsConfig, calcium_range: tuple[float, float], most: int
) -> ZoomedClips:
    """Return at most `most` validation clips, normalised as the training clips were."""
    return ZoomedClips(WaveClips(recordings, config, "validation", calcium_range=list(calcium_range)), most)
