"""How clips are cut from recordings, and which frames belong to training and which to validation."""

import math
from dataclasses import field
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from rwtl.errors import InputError
from rwtl.sections import Ascending, NotNegative, Positive, Range, Real, Within01, section
from rwtl.waves.store import Recording

# `grey` repeats the channel, `blue_red` is the colour map of the pictures of waves, `rgb` frames have colours.
Colour = Literal["grey", "blue_red", "rgb"]
Split = Literal["training", "validation"]
Shuffle = Literal["none", "time", "space"]
_SMALLEST_CROP = 8  # px, of the model
_FINEST_ZOOM = 100  # largest denominator


@section("clips", kw_only=True)
class ClipsConfig:
    """How clips are cut.

    Args:
        recordings: one entry for each recording, whose keys are laid over the section `recording`.
        dt: frame interval of the clip in s, a whole multiple of every recording's.
        length: frames in a clip, at least 2; 3 is the triplet of the study.
        calcium_range: the calcium concentrations (nM) that become 0 and 1; values beyond are clipped. None takes
            `percentiles` of the training part.
        percentiles: of all calcium of the training part, 0..100, that become 0 and 1.
        colour: how the model makes RGB of a frame.
        active_above: a cell is active above this calcium concentration (nM).
        active: least and greatest mean fraction of active cells of a clip; others are dropped.
        validation_fraction: the last part of each recording's time that is kept for validation.
        gap: time in s between the last training frame and the first validation frame, at least: waves that begin in one
            part have ended in the other.
        zoom: factor by which frames, and displacements in them, are enlarged; the nearest fraction with a denominator
            of at most 100.
        crop: side in px, after the zoom, of the random square cut from a training clip; crop / zoom is whole.
        rotations_and_flips: whether a training clip is turned and mirrored at random, as a whole.
        shuffle: controls that keep the pixels and destroy the motion: `time` gives clips the frames of other clips,
            `space` puts the cells of the lattice in another order, the same in all frames.

    Raises:
        InputError: A value is out of range, or crop / zoom is no whole number.
    """

    recordings: Annotated[list[dict[str, Any]], Field(min_length=1)] = field(default_factory=lambda: [{}])
    dt: Positive = 1.0
    length: Annotated[int, Range(2)] = 3
    calcium_range: Annotated[list[Real], Ascending(what="concentrations (nM)")] | None = field(
        default_factory=lambda: [60.0, 640.0]
    )
    percentiles: Annotated[list[Real], Ascending(0, 100)] = field(default_factory=lambda: [0.5, 99.5])
    colour: Literal["grey", "blue_red"] = "grey"
    active_above: Real = 200.0
    active: Annotated[list[Real], Ascending(0, 1, what="fractions of active cells")] = field(
        default_factory=lambda: [0.02, 1.0]
    )
    validation_fraction: Within01 = 0.25
    gap: NotNegative = 5.0
    zoom: Positive = 1.0
    crop: Annotated[int, Range(_SMALLEST_CROP)] = 64
    rotations_and_flips: bool = True
    shuffle: Shuffle = "none"

    def __post_init__(self):
        window_of(self.crop, self.zoom)


def zoom_fraction(zoom: float, key: str = "clips.zoom") -> Fraction:
    """Return the zoom as a fraction of whole numbers, by which frames are resized exactly.

    Args:
        zoom: by how much frames are enlarged.
        key: of the configuration, where the zoom stands.

    Raises:
        InputError: The zoom is not positive, or no fraction with a denominator of at most 100 comes within 0.1 % of it.
    """
    fraction = Fraction(zoom).limit_denominator(_FINEST_ZOOM) if 0 < zoom < math.inf else Fraction(0)
    if fraction <= 0 or abs(fraction / Fraction(zoom) - 1) > Fraction(1, 1000):
        raise InputError(
            f"{key} is {zoom}; it must be a positive ratio of whole numbers, the second at most {_FINEST_ZOOM}, "
            "such as 2, 1.5 or 0.3333"
        )
    return fraction


def window_of(crop: int, zoom: float) -> int:
    """Return the side in cells of the window that becomes a crop of so many px.

    Raises:
        InputError: crop / zoom is no whole number.
    """
    fraction = zoom_fraction(zoom)
    if crop % (step := fraction.numerator):
        valid = max(round(crop / step), math.ceil(_SMALLEST_CROP / step)) * step
        raise InputError(
            f"clips.crop / clips.zoom is {crop} / {zoom} = {crop / zoom:.4g} cells, which must be whole; a crop of "
            f"{valid} px is"
        )
    return crop // step * fraction.denominator


def stride_of(dt: float, interval: float, recording: str | Path, key_is: str = "clips.dt is") -> int:
    """Return how many frames of a recording dt (s) spans.

    Args:
        dt, interval: in s; the second is the recording's frame interval.
        recording, key_is: for the message, its name, and the key of the configuration with its verb.

    Raises:
        InputError: dt is no whole multiple of the recording's frame interval.
    """
    stride = round(dt / interval)
    if stride < 1 or abs(stride * interval - dt) > 1e-6 * dt:
        raise InputError(
            f"{key_is} {dt} s, which is no whole multiple of the frame interval of {recording}, {interval} s; "
            f"the nearest is {max(stride, 1) * interval:.6g} s"
        )
    return stride


def frames_of(split: Split, config: ClipsConfig, recording: Recording) -> range:
    """Return the numbers of the frames of a recording that belong to a split; those of the gap belong to none."""
    border = round(recording.valid_frames * (1 - config.validation_fraction))  # the first frame of validation
    if split == "validation":
        return range(border, recording.valid_frames)
    # Frames at least so far apart; the tolerance is for a gap that is a whole number of intervals up to rounding.
    apart = max(1, math.ceil(config.gap / recording.frame_interval - 1e-6))
    return range(max(0, border - apart + 1))


def require_room(config: ClipsConfig, recording: Recording) -> None:
    """Raise an InputError where the training crop does not fit into the recording."""
    window, (rows, columns) = window_of(config.crop, config.zoom), recording.shape
    if window > min(rows, columns):
        zoom = zoom_fraction(config.zoom)
        largest = min(rows, columns) // zoom.denominator * zoom.numerator
        raise InputError(
            f"clips.crop is {config.crop} px at zoom {config.zoom:g}, a window of {window} cells, but {recording.path} "
            f"has {rows}×{columns}; a crop of at most {largest} px fits"
        )
