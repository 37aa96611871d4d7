"""RAFT on the flow of wave fronts, a source task: the training itself is that of the target task."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rwtl.data.clips import WaveClips
from rwtl.data.clips_config import ClipsConfig
from rwtl.data.front_motion import fronts_of
from rwtl.data.wave_flow import WaveFlow, WholePairs
from rwtl.data.wave_flow_augmentation import CropAndZoomFlow, FlowAugmentation, rotate_and_flip_flow
from rwtl.errors import InputError
from rwtl.training.optical_flow import FlowRecipe


@dataclass
class WaveFlowRecipe(FlowRecipe):
    """A recipe of optical-flow training on wave fronts.

    Args:
        validation_pairs: at most so many pairs, evenly spread over the validation part.
        seed: decides the initial weights, the order of pairs and their augmentation.
        behind: s; a pixel lies on a front if its onset was at most so long ago in the first frame,
        ahead: s; or comes at most so much later.
    """

    validation_pairs: int
    seed: int
    behind: float
    ahead: float

    def __post_init__(self):
        super().__post_init__()
        if self.validation_pairs < 1:
            raise InputError(f"validation_pairs is {self.validation_pairs}; it must be at least 1")
        for key in ("behind", "ahead"):
            if getattr(self, key) < 0:
                raise InputError(f"{key} is {getattr(self, key)} s; it must not be negative")
        if self.behind + self.ahead == 0:
            raise InputError("behind and ahead are both 0 s: no pixel lies on a front; widen one of them")


def wave_flow_data(
    recordings: Sequence[Path], clips: ClipsConfig, recipe: WaveFlowRecipe
) -> tuple[WaveFlow, list[FlowAugmentation], WholePairs, tuple[float, float]]:
    """Return what a training on wave fronts needs.

    Args:
        recordings: paths.
        clips: how pairs are cut; its `length` must be 2.
        recipe: how they are used.

    Returns:
        The training part, its augmentations, whole zoomed pairs of the validation part, and the calcium concentrations
        (nM) that become 0 and 1 in both.
    """
    training_clips = WaveClips(recordings, clips, "training")
    validation_clips = WaveClips(recordings, clips, "validation", training_clips.calcium_range)
    fronts = [fronts_of(recording) for recording in training_clips.recordings]  # read once for both parts
    training, validation = (
        WaveFlow(part, clips.colour, recipe.behind, recipe.ahead, fronts) for part in (training_clips, validation_clips)
    )
    augmentations: list[FlowAugmentation] = [CropAndZoomFlow(clips.crop, clips.zoom)]
    if clips.rotations_and_flips:
        augmentations.append(rotate_and_flip_flow)
    whole = WholePairs(validation, clips.zoom, recipe.validation_pairs)
    return training, augmentations, whole, training_clips.calcium_range
