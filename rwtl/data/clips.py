"""Clips (I1, I2, I3, …) of normalised calcium, cut from recordings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from rwtl.data.calcium_range import CalciumHistogram, robust_range
from rwtl.data.clip_augmentation import CropAndZoom, enlarge, rotate_and_flip
from rwtl.data.clip_frames import PartFrames
from rwtl.data.clips_config import ClipsConfig, Part, frames_of, require_room, stride_of, zoom_fraction
from rwtl.data.stream import counter_rng
from rwtl.errors import InputError
from rwtl.waves.store import Recording, open_recording

MEMORY = 512 * 2**20  # bytes
FEWEST_SHUFFLED = 8  # clips of a recording's part that shuffling in time needs: among fewer, some would stay in order
_TIME, _SPACE = 3, 4  # what a generator is for, beside those of rwtl.data.stream


@dataclass(frozen=True)
class ClipCounts:
    """How many clips there could be, and how many of them the bounds of `clips.active` removed."""

    candidates: int
    too_quiet: int
    too_active: int

    def __str__(self) -> str:
        return f"{self.candidates} candidates, {self.too_quiet} too quiet, {self.too_active} too active"


class WaveClips(Dataset):
    """The clips of one part of recordings; an item is Float[Tensor, "length 1 h w"] in 0..1, at a pixel for each cell.

    Each recording is split by time: all its training frames come `gap` before its first validation frame. The clips of
    a recording follow one another in order of time, those of the first recording first.

    Args:
        recordings: folders of the recordings; they may differ in size and frame interval.
        config: how clips are cut.
        part: `training` or `validation`.
        calcium_range: in nM, what becomes 0 and 1. None takes the configuration's, or measures it, for the training
            part alone.
        memory: bytes for frames that stay in memory; the others are read from disk whenever they are needed.

    Attributes:
        recordings: the open recordings.
        calcium_range: in nM, what becomes 0 and 1.
        active_level: `config.active_above` as it is after normalisation.
        counts: what the activity filter removed.

    Raises:
        InputError: dt is no multiple of a recording's frame interval, a clip or the crop does not fit into a recording,
            the activity filter leaves nothing, a recording is damaged, or its calcium has no range.
    """

    def __init__(
        self,
        recordings: Sequence[Path],
        config: ClipsConfig,
        part: Part,
        calcium_range: tuple[float, float] | None = None,
        memory: int = MEMORY,
    ):
        self.config = config
        self.part = part
        self.recordings = [open_recording(path) for path in recordings]
        candidates = [_candidates(recording, config, part) for recording in self.recordings]  # before anything is read
        known = calcium_range or config.calcium_range
        if known is None and part == "validation":
            raise InputError(
                "the validation part is normalised as the training part: hand over its calcium_range, or set "
                "clips.calcium_range"
            )
        histogram = CalciumHistogram() if known is None else None
        self._frames: list[PartFrames] = []
        for recording in self.recordings:
            numbers = frames_of(part, config, recording)
            self._frames.append(PartFrames(recording, numbers, config.active_above, memory, histogram))
            memory -= self._frames[-1].kept_bytes
        low, high = known or robust_range(histogram, config.percentiles)
        self.calcium_range = (float(low), float(high))
        self.active_level = (config.active_above - low) / (high - low)
        for frames in self._frames:
            frames.prepare(
                self.calcium_range, _cell_order(frames.recording.shape) if config.shuffle == "space" else None
            )
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
            kept = [_in_other_order(clips, number, self.part) for number, clips in enumerate(kept)]
        self._numbers = np.concatenate(kept)
        self._recording_of = np.repeat(np.arange(len(kept)), [len(clips) for clips in kept])
        if len(self) == 0:
            raise InputError(
                f"clips.active {list(self.config.active)} leaves none of the {len(every)} {self.part} clips: "
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


def _candidates(recording: Recording, config: ClipsConfig, part: Part) -> Int[np.ndarray, "clips length"]:
    """The frame numbers of all clips of a part of a recording."""
    stride = stride_of(config.dt, recording)
    require_room(config, recording)
    numbers = frames_of(part, config, recording)
    span = (config.length - 1) * stride
    if len(numbers) <= span:
        raise InputError(
            f"a clip of {config.length} frames at dt {config.dt} s spans {span + 1} frames, but the {part} part of "
            f"{recording.path} has {len(numbers)} of its {recording.valid_frames} valid frames (clips."
            f"validation_fraction {config.validation_fraction}, clips.gap {config.gap} s); simulate longer, or lower "
            "clips.dt, clips.length or clips.gap"
        )
    return np.array(numbers)[: len(numbers) - span, None] + np.arange(config.length) * stride


def _in_other_order(
    clips: Int[np.ndarray, "clips length"], recording: int, part: Part
) -> Int[np.ndarray, "clips length"]:
    if 0 < len(clips) < FEWEST_SHUFFLED:
        raise InputError(
            f"clips.shuffle is time, but the {part} part of recording {recording + 1} has {len(clips)} clips to "
            f"shuffle, fewer than {FEWEST_SHUFFLED}: some would stay in order; simulate longer, or widen clips.active"
        )
    # Each position on its own, so that every position keeps exactly the frames that it has without the shuffle.
    return counter_rng(0, recording, int(part == "validation"), _TIME).permuted(clips, axis=0)


def _cell_order(shape: tuple[int, int]) -> Int[np.ndarray, " cells"]:
    return counter_rng(0, *shape, _SPACE).permutation(shape[0] * shape[1])


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
        self.indices = np.linspace(0, len(clips) - 1, min(most, len(clips))).round().astype(int).tolist()
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
    return ZoomedClips(WaveClips(recordings, config, "validation", calcium_range), most)
