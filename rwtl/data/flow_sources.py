"""What RAFT is trained and validated on: one class for each choice of the group `flow_data`."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from rwtl.config import typed
from rwtl.data.augmentation import RandomCrop, RandomFlip
from rwtl.data.flow_datasets import FlyingChairs, folder_identity
from rwtl.data.procedural_flow import ProceduralFlow
from rwtl.errors import InputError


@dataclass
class ProceduralSource:
    """Scenes made on the fly; validation scenes are of the same distribution and share no randomness with training.

    Args:
        name: `procedural`.
        size, validation_size: numbers of scenes.
        height, width: of the frames, in pixels.
        mean_displacement: mean length of the flow, in pixels.
        shapes: most shapes in a scene.
        deformation: rotation, zoom and shear in relation to translation.
        tail: 1 for evenly spread displacements, 2 for many short and a few long ones.
        seed: decides the scenes (the order in training is the run's seed's).
    """

    name: str
    size: int
    validation_size: int
    height: int
    width: int
    mean_displacement: float
    shapes: int
    deformation: float
    tail: float
    seed: int

    def _scenes(self, split: str, size: int) -> ProceduralFlow:
        keys = ("height", "width", "mean_displacement", "shapes", "deformation", "tail", "seed")
        return ProceduralFlow(size=size, split=split, **{key: getattr(self, key) for key in keys})

    def training(self) -> Dataset:
        return self._scenes("train", self.size)

    def validation(self) -> Dataset:
        return self._scenes("validation", self.validation_size)

    def augmentations(self) -> list[Callable]:
        return []

    def identity(self) -> dict[str, Any]:
        """Return the values that determine the data."""
        return asdict(self)


@dataclass
class ChairsSource:
    """A folder of pairs in FlyingChairs' layout, cropped and flipped at random in training, whole in validation.

    Args:
        name: `chairs`.
        root: folder of the training pairs.
        validation_root: folder of the validation pairs; the same folder measures how well it can be overfitted.
        height, width: of the training crops, in pixels.
        horizontal_flip, vertical_flip: probabilities of mirroring a training pair.
    """

    name: str
    root: str
    validation_root: str
    height: int
    width: int
    horizontal_flip: float
    vertical_flip: float

    def training(self) -> Dataset:
        return FlyingChairs(Path(self.root))

    def validation(self) -> Dataset:
        return FlyingChairs(Path(self.validation_root))

    def identity(self) -> dict[str, Any]:
        """Return the values that determine the data: a folder counts by its pairs, not by its path."""
        roots = {key: folder_identity(getattr(self, key)) for key in ("root", "validation_root")}
        return asdict(self) | roots

    def augmentations(self) -> list[Callable]:
        return [RandomFlip(self.horizontal_flip, self.vertical_flip), RandomCrop(self.height, self.width)]


FlowSource = ProceduralSource | ChairsSource
SOURCES = {"procedural": ProceduralSource, "chairs": ChairsSource}


def flow_source(values: dict[str, Any]) -> FlowSource:
    """Return the source that a `flow_data` section describes."""
    name = values.get("name")
    if name not in SOURCES:
        raise InputError(f"flow_data.name is {name!r}; choose one of {', '.join(SOURCES)}")
    return typed(SOURCES[name], values, "flow_data")
