"""Clips (I1, I2, I3, …) of normalised calcium, cut from a recording."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from rwtl.errors import InputError
from rwtl.waves.store import open_recording

Part = Literal["training", "validation"]


@dataclass
class ClipsConfig:
    """How clips are cut.

    Args:
        dt: frame interval of the clip in seconds, a whole multiple of the recording's.
        length: frames in a clip; 3 is the triplet of the study.
        calcium_range: the calcium concentrations (nM) that become 0 and 1; values beyond are clipped.
        active_above: a cell is active above this calcium concentration (nM).
        min_active: clips whose mean fraction of active cells is lower are dropped as quiet.
        validation_fraction: the last part of the recording's time that is kept for validation.
        crop: side in pixels of the random square cut from a training clip.
        rotations_and_flips: whether a training clip is turned and mirrored at random, as a whole.
    """

    dt: float
    length: int
    calcium_range: list[float]
    active_above: float
    min_active: float
    validation_fraction: float
    crop: int
    rotations_and_flips: bool

    def __post_init__(self):
        if len(self.calcium_range) != 2:
            raise InputError(f"clips.calcium_range is {self.calcium_range}; give two concentrations (nM)")
        low, high = self.calcium_range
        for wrong, text in (
            (self.dt <= 0, f"clips.dt is {self.dt} s; it must be positive"),
            (self.length < 3, f"clips.length is {self.length}; a clip holds at least 3 frames"),
            (low >= high, f"clips.calcium_range is {low} to {high} nM; the first must be lower"),
            (not 0 <= self.min_active < 1, f"clips.min_active is {self.min_active}; it must lie in 0 to 1"),
            (
                not 0 < self.validation_fraction < 1,
                f"clips.validation_fraction is {self.validation_fraction}; it must lie between 0 and 1",
            ),
            (self.crop < 8, f"clips.crop is {self.crop} px; it must be at least 8"),
        ):
            if wrong:
                raise InputError(text)


class WaveClips(Dataset):
    """The clips of one part of a recording; an item is Float[Tensor, "length 1 h w"], normalised to 0..1.

    The parts are separated in time: all frames of a training clip come before the first frame of any validation clip.

    Args:
        recording: folder of the recording.
        config: how clips are cut.
        part: `training` or `validation`.
    """

    def __init__(self, recording: Path, config: ClipsConfig, part: Part):
        self.path = recording
        self.config = config
        self.recording = open_recording(recording)
        self.stride = _stride(config.dt, self.recording.frame_interval)
        if config.crop > min(self.recording.shape):
            rows, columns = self.recording.shape
            raise InputError(f"clips.crop is {config.crop} px, but the recording has {rows}×{columns} cells; lower it")
        frames = self.recording.valid_frames
        boundary = round(frames * (1 - config.validation_fraction))
        first, last = (0, boundary) if part == "training" else (boundary, frames)
        span = (config.length - 1) * self.stride
        candidates = np.arange(first, last - span)
        if len(candidates) == 0:
            raise InputError(
                f"a clip of {config.length} frames at dt {config.dt} s spans {span + 1} frames, but the {part} part of "
                f"{recording} has {last - first}; simulate longer, or lower clips.dt or clips.length"
            )
        offsets = np.arange(config.length) * self.stride
        activity = self._active_fraction(first, last)[candidates[:, None] - first + offsets].mean(axis=1)
        self.starts = candidates[activity >= config.min_active]
        if len(self.starts) == 0:
            raise InputError(
                f"clips.min_active {config.min_active} drops all {len(candidates)} {part} clips of {recording} (their "
                f"fractions of active cells reach {activity.max():.4f}); lower it, or choose another recording"
            )

    def _active_fraction(self, first: int, last: int) -> Float[np.ndarray, " frames"]:
        chunks = range(first, last, 64)
        counts = [
            (self.recording.frames(k, min(k + 64, last)) > self.config.active_above).mean(axis=(1, 2)) for k in chunks
        ]
        return np.concatenate(counts)

    def __len__(self) -> int:
        return len(self.starts)

    def frame_numbers(self, index: int) -> list[int]:
        """Return the recording's frame numbers that make up a clip."""
        return [int(self.starts[index]) + k * self.stride for k in range(self.config.length)]

    def __getitem__(self, index: int) -> Float[Tensor, "length 1 h w"]:
        frames = np.concatenate([self.recording.frames(k, k + 1) for k in self.frame_numbers(index)])
        low, high = self.config.calcium_range
        return torch.from_numpy(np.clip((frames - low) / (high - low), 0, 1).astype(np.float32))[:, None]


def _stride(dt: float, frame_interval: float) -> int:
    stride = round(dt / frame_interval)
    if stride < 1 or abs(stride * frame_interval - dt) > 1e-6 * dt:
        raise InputError(
            f"clips.dt is {dt} s, which is no whole multiple of the recording's frame interval of {frame_interval} s"
        )
    return stride


def rotate_and_flip(clip: Float[Tensor, "length 1 h w"], rng: np.random.Generator) -> Float[Tensor, "length 1 h2 w2"]:
    """Apply one of the eight symmetries of the square, drawn from `rng`, to the clip as a whole."""
    clip = torch.rot90(clip, int(rng.integers(4)), dims=(-2, -1))
    return clip.flip(-1) if rng.integers(2) else clip


@dataclass(frozen=True)
class CropClip:
    """Cuts a square of `side` pixels at a place drawn from the generator, the same in every frame."""

    side: int

    def __call__(
        self, clip: Float[Tensor, "length 1 h w"], rng: np.random.Generator
    ) -> Float[Tensor, "length 1 side side"]:
        rows, columns = clip.shape[-2:]
        if self.side > min(rows, columns):
            raise InputError(f"clips.crop is {self.side} px, but the recording has {rows}×{columns} cells; lower it")
        top = int(rng.integers(rows - self.side + 1))
        left = int(rng.integers(columns - self.side + 1))
        return clip[..., top : top + self.side, left : left + self.side]
