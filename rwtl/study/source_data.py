"""What a source task is trained and validated on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset, Subset

from rwtl.data.clips import WaveClips, training_part, validation_clips
from rwtl.data.stream import Part
from rwtl.data.wave_flow import WaveFlow, WholePairs
from rwtl.study.pretraining_plan import PretrainingPlan
from rwtl.training.wave_flow import wave_flow_data

BEHIND = 1.0  # s; a front, where flow that was learnt without its truth is compared with the measured one


@dataclass
class SourceData:
    """The data of a source task.

    Args:
        training: the data set, with its augmentations.
        validation: samples that no augmentation changes.
        fronts: pairs of the validation part with the flow of their fronts; None for next-frame prediction.
        calcium_range: the calcium concentrations (nM) that became 0 and 1; None for scenes.
        active_level: from which value on a normalised frame counts as active; None where that has no meaning.
        description: in a few words, for the log.
    """

    training: Part
    validation: Dataset
    fronts: Dataset | None
    calcium_range: tuple[float, float] | None
    active_level: float | None
    description: str


def source_data(plan: PretrainingPlan, recordings: Sequence[Path]) -> SourceData:
    """Open what a pre-training needs; what leaves nothing to train on is an InputError."""
    if plan.scenes:
        training, validation = plan.scenes
        text = f"{len(training)} training scenes, {len(validation)} validation scenes"
        return SourceData(Part(training), evenly(validation, plan.recipe.validation_clips), None, None, None, text)
    if plan.kind == "wave_flow":
        training, augmentations, fronts, calcium_range = wave_flow_data(recordings, plan.clips, plan.recipe)
        validation, active_level = fronts, None
        counts = f"{training.left_out} without a front left out"
    else:
        training, augmentations = training_part(recordings, plan.clips)
        calcium_range, active_level, counts = training.calcium_range, training.active_level, training.counts
        self_supervised = plan.kind == "self_supervised"
        most = plan.recipe.validation_pairs if self_supervised else plan.recipe.validation_clips
        validation = validation_clips(recordings, plan.clips, calcium_range, most)
        fronts = _fronts(plan, recordings, calcium_range) if self_supervised else None
    text = (
        f"{len(training)} training clips ({counts}), {len(validation)} validation clips, dt {plan.clips.dt:g} s, "
        f"{calcium_range[0]:.0f} to {calcium_range[1]:.0f} nM"
    )
    return SourceData(Part(training, augmentations), validation, fronts, calcium_range, active_level, text)


def _fronts(plan: PretrainingPlan, recordings: Sequence[Path], calcium_range: tuple[float, float]) -> WholePairs:
    clips = WaveClips(recordings, plan.clips, "validation", calcium_range)
    data = WaveFlow(clips, plan.clips.colour, BEHIND, 0.0)
    return WholePairs(data, plan.clips.zoom, plan.recipe.validation_pairs)


def evenly(data: Dataset, most: int) -> Subset:
    """At most so many samples, evenly spread."""
    return Subset(data, np.linspace(0, len(data) - 1, min(most, len(data))).round().astype(int).tolist())
