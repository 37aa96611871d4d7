"""Clips (I1, I2, I3, …) of the procedural scenes that flow is learnt from, whose motion goes on after the pair."""

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from rwtl.errors import InputError
from rwtl.flow.catalogue import flow_dataset
from rwtl.flow.scenes.dataset import ProceduralFlow
from rwtl.flow.scenes.render import paint
from rwtl.sections import Range, section


@section("clips")
class SceneClipsConfig:
    """Which scenes clips are made of.

    Args:
        dataset: name in the section `datasets` of the procedural scenes to train on.
        validation_dataset: name of those to validate on; they must differ in split or seed.
        length: frames in a clip, at least 3.
        crop: side of the frames in px, at least 16, in place of the data sets' own height and width.
    """

    dataset: str
    validation_dataset: str
    length: Annotated[int, Range(3)]
    crop: Annotated[int, Range(16)]


class SceneClips(Dataset):
    """Scenes at times 0, 1, 2, …; an item is Float[Tensor, "length 3 h w"], RGB in 0..1.

    The first two frames are the pair of the same index, divided by 255. Every surface then goes on by the same map of
    the frame to the frame (`elements`), in the same order of depth. Where the light changes and pixels are
    noisy, those of every frame are drawn anew, as the pair's are.

    Args:
        scenes: what the clips begin as.
        length: frames in a clip, at least 3.

    Attributes:
        active_level: None, for scenes have no activity.
    """

    active_level = None

    def __init__(self, scenes: ProceduralFlow, length: int):
        self.scenes = scenes
        self.length = length

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Float[Tensor, "length 3 h w"]:
        return self.batch([index])[0]

    def batch(self, indices: Sequence[int], device: torch.device | str = "cpu") -> Float[Tensor, "scenes length 3 h w"]:
        """Render clips at once, on any device: the same up to rounding."""
        # The pair on its own: painted among other frames, it could differ in its last bits.
        parts = [paint(self.scenes.scenes(indices, device, times))[0] for times in ((0, 1), range(2, self.length))]
        return torch.cat(parts, dim=2).transpose(1, 2).contiguous().div_(255)

    @property
    def names(self) -> list[str]:
        """The name of each scene, in the order of the indices."""
        return self.scenes.names

    def identity(self) -> dict[str, Any]:
        """Return the values that determine the clips."""
        return self.scenes.identity() | {"length": self.length}


def scene_clips(config: SceneClipsConfig, catalogue: dict[str, dict[str, Any]]) -> tuple[SceneClips, SceneClips]:
    """Return the clips to train on, and those to validate on.

    Args:
        config: which scenes they are.
        catalogue: the section `datasets`; of it, both data sets are needed.

    Raises:
        InputError: A data set is not there, not procedural, or has arguments that its scenes cannot have at this side;
            or both draw the same random numbers.
    """
    training, validation = (
        _scenes(name, config.crop, catalogue) for name in (config.dataset, config.validation_dataset)
    )
    if (training.split, training.seed) == (validation.split, validation.seed):
        raise InputError(
            f"clips.dataset {config.dataset} and clips.validation_dataset {config.validation_dataset} both have split "
            f"{training.split} and seed {training.seed}, so they show the same scenes; choose another split or seed"
        )
    return SceneClips(training, config.length), SceneClips(validation, config.length)


def _scenes(name: str, side: int, catalogue: dict[str, dict[str, Any]]) -> ProceduralFlow:
    if name not in catalogue:
        raise InputError(f"there is no data set {name} to make clips of; choose one of {', '.join(catalogue)}")
    values = catalogue[name]
    if values.get("name") != "procedural":
        raise InputError(
            f"clips of scenes cannot be made of datasets.{name}, whose name is {values.get('name')!r}: only procedural "
            "scenes go on after the second frame"
        )
    return flow_dataset({**values, "height": side, "width": side}, f"datasets.{name}")
