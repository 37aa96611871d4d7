"""The catalogue of data sets by name, and what RAFT is trained and validated on: its entries, mixed and augmented."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
from jaxtyping import Int32
from omegaconf import DictConfig

from rwtl.config import at_home, entry, references
from rwtl.errors import InputError
from rwtl.flow.augmentation import Augmentation, AugmentationConfig, SparseAugmentation, SparseAugmentationConfig
from rwtl.flow.layouts import HD1K, KITTI, FlyingChairs, FlyingThings3D, Middlebury, Sintel
from rwtl.flow.pairs import FlowFolder, FlowPairs
from rwtl.flow.sample import FlowDataset
from rwtl.flow.scenes.dataset import ProceduralFlow
from rwtl.program import call_of
from rwtl.registry import Registry
from rwtl.sampling import Part, first_of_fixed_order
from rwtl.sections import EachOnce, Natural, Unfit, UpTo1, chosen, section, typed


class Catalogue(dict[str, dict[str, Any]]):
    """The section `datasets`: each data set's name and constructor arguments.

    Attributes:
        typed_as: by data set, the keys such as `paths.sintel` that its arguments refer to.
    """

    typed_as: Mapping[str, Mapping[str, str]] = MappingProxyType({})


FLOW_DATASETS: Registry[type[FlowDataset]] = Registry("data set")


def register_dataset(name: str) -> Callable[[type[FlowDataset]], type[FlowDataset]]:
    """Return a decorator that makes a class one that entries of the section `datasets` may name.

    Args:
        name: of letters, digits and '_'. The other keys of an entry are the arguments of the class, checked by their
            types.

    Raises:
        InputError: The name is that of another class, or the class is no `rwtl.flow.sample.FlowDataset`.

    What determines its samples, and so the results of who uses it, is what its `identity()` says: the text of the class
    counts only where that says so. A subclass of `rwtl.flow.pairs.FlowPairs` counts by its files.

    >>> from rwtl.flow.pairs import FlowPair, FlowPairs
    >>> @rwtl.register_dataset("one_pair")
    ... class OnePair(FlowPairs):
    ...     def __init__(self, root: Path):
    ...         super().__init__(root, [FlowPair("pair", root / "1.png", root / "2.png", root / "flow.flo")])
    """

    def checked(cls: type[FlowDataset]) -> type[FlowDataset]:
        if not (isinstance(cls, type) and issubclass(cls, FlowDataset)):
            raise InputError(f"the data set {name} is {cls!r}; it must be a subclass of rwtl.flow.sample.FlowDataset")
        return cls

    return FLOW_DATASETS.register(name, checked)


for _name, _cls in {
    "flying_chairs": FlyingChairs,
    "flying_things": FlyingThings3D,
    "sintel": Sintel,
    "kitti": KITTI,
    "hd1k": HD1K,
    "middlebury": Middlebury,
    "folder": FlowFolder,
    "procedural": ProceduralFlow,
}.items():
    register_dataset(_name)(_cls)


def open_dataset(name: str, **arguments: Any) -> FlowDataset:
    """Return a data set of optical flow; its items are `FlowSample`: two frames, flow in px, and where that is known.

    Args:
        name: `flying_chairs`, `flying_things`, `sintel`, `kitti`, `hd1k`, `middlebury`, `folder`, `procedural`, or one
            that is registered.
        arguments: of the class of that name, such as `root`, the folder of the data set, a text or a path.

    Raises:
        InputError: The name or an argument is unknown, or does not fit; and what the data set itself raises.

    >>> scenes = rwtl.open_dataset("procedural", size=2, height=32, width=40)
    >>> len(scenes), tuple(scenes[0].flow.shape)
    (2, (2, 32, 40))
    """
    return flow_dataset({"name": name, **at_home(arguments)}, name)


def flow_dataset(values: dict[str, Any], section: str, typed_as: Mapping[str, str] | None = None) -> FlowDataset:
    """Return the data set that a section of the configuration describes.

    Args:
        values: `name`, a key of FLOW_DATASETS, and the arguments of that class.
        section: Name of the section, for messages.
        typed_as: the keys that its arguments refer to, for messages too.

    Raises:
        InputError: The name or an argument is unknown, or does not fit; and what the data set itself raises.
    """
    name, arguments = chosen(FLOW_DATASETS, values, section, "name")
    return typed(FLOW_DATASETS[name], arguments, section, typed_as)


@section("flow_data.training.<data set>")
class PartConfig:
    """One data set's share in a training.

    Args:
        repeats: how many times an epoch holds every sample, at least 1; 0 leaves the data set out.
        augmentation: keys of AugmentationConfig, or of SparseAugmentationConfig where the data set's flow is sparse;
            None leaves samples as they are.
    """

    repeats: Natural = 1
    augmentation: dict[str, Any] | None = None


@section("flow_data")
class FlowDataConfig:
    """Data sets by their names in the catalogue.

    Args:
        training: what training mixes.
        validation: what it is validated on, at least one; the first is what runs are compared by.
        fraction: of every data set's samples, above 0 and at most 1, that training takes: rounded, but one at least.
            They are the first of one fixed order, so a smaller fraction's are among a larger one's, whatever the seed
            of the training.
        subset_seed: decides that order, 0 or more.
    """

    training: dict[str, PartConfig]
    validation: Annotated[list[str], EachOnce()]
    fraction: UpTo1 = 1.0
    subset_seed: Natural = 0

    def __post_init__(self):
        if not self.used():
            raise Unfit("training has no data set with repeats of 1 or more; name at least one")

    def used(self) -> dict[str, PartConfig]:
        """Return the parts that take part."""
        return {name: part for name, part in self.training.items() if part.repeats}


@dataclass
class FlowData:
    """The data sets of a training, opened: every file is there.

    Args:
        parts: what training mixes, by name.
        validation: data sets by name.
        augmentations: the checked keys of every part's augmentation, or None.
        subset_seed: decided which samples take part, where not all do.
    """

    parts: dict[str, Part]
    validation: dict[str, FlowDataset]
    augmentations: dict[str, dict[str, Any] | None]
    subset_seed: int

    @classmethod
    def of(cls, config: FlowDataConfig, catalogue: dict[str, dict[str, Any]]) -> "FlowData":
        parts, augmentations = {}, {}
        for name, part in config.used().items():
            dataset = open_with_flow(name, catalogue)
            augment, augmentations[name] = _augmentation(part.augmentation, dataset, f"flow_data.training.{name}")
            indices = _subset(len(dataset), config.fraction, config.subset_seed)
            if augment:
                _require_large_enough(dataset, indices, augment.config, f"flow_data.training.{name}.augmentation")
            parts[name] = Part(dataset, [augment] if augment else [], part.repeats, indices, name)
        validation = {name: open_with_flow(name, catalogue) for name in config.validation}
        return cls(parts, validation, augmentations, config.subset_seed)

    def identity(self) -> dict[str, Any]:
        """Return the values that determine a training's data.

        A folder counts by its pairs, not by its path, and a fraction by the samples that it draws: all are all, and
        0.01 and 0.02 of ten are the same one.
        """
        # Lists, for the order counts: samples are numbered part by part, and the first validation is the main one.
        training = [
            [name, part.dataset.identity(), part.repeats, self.augmentations[name]]
            + ([] if part.indices is None else [{"samples": part.samples, "subset_seed": self.subset_seed}])
            for name, part in self.parts.items()
        ]
        return {"training": training, "validation": [[name, data.identity()] for name, data in self.validation.items()]}

    def drawn(self) -> dict[str, dict[str, Any]]:
        """Return, for each training data set, which of its samples training takes, as JSON takes it.

        It is how many (`samples`) of how many (`of`); where those are not all, also the `subset_seed`, the `indices` in
        their fixed order, and the `names` of the pairs in the same order.
        """
        drawn = {}
        for name, part in self.parts.items():
            drawn[name] = {"samples": part.samples, "of": len(part.dataset)}
            if part.indices is not None:
                indices, names = part.indices.tolist(), part.dataset.names
                drawn[name] |= {"subset_seed": self.subset_seed, "indices": indices}
                drawn[name]["names"] = [names[index] for index in indices]
        return drawn


def of_catalogue(name: str, catalogue: dict[str, dict[str, Any]]) -> FlowDataset:
    """Return a data set of the catalogue; what it cannot be made of is an InputError."""
    typed_as = catalogue.typed_as.get(name) if isinstance(catalogue, Catalogue) else None
    return flow_dataset(catalogue[name], f"datasets.{name}", typed_as)


def open_with_flow(name: str, catalogue: dict[str, dict[str, Any]]) -> FlowDataset:
    """Return a data set of the catalogue; one without flow, a test split, is an InputError."""
    dataset = of_catalogue(name, catalogue)
    if not dataset.has_flow:
        raise InputError(f"{name} holds no flow to train on or compare with: it is for {call_of('submit')}")
    return dataset


def _subset(size: int, fraction: float, seed: int) -> Int32[np.ndarray, " samples"] | None:
    """Return the indices of a fraction of a data set, or None where it is all: in their own order, as ever."""
    samples = max(1, round(fraction * size))
    return None if samples >= size else first_of_fixed_order(samples, size, seed)


def _augmentation(values: dict[str, Any] | None, dataset: FlowDataset, section: str) -> tuple[Any, dict | None]:
    if values is None:
        return None, None
    sparse = dataset.sparse
    config = typed(SparseAugmentationConfig if sparse else AugmentationConfig, values, f"{section}.augmentation")
    return (SparseAugmentation if sparse else Augmentation)(config), asdict(config)


def _require_large_enough(
    dataset: FlowDataset,
    indices: Int32[np.ndarray, " samples"] | None,
    config: AugmentationConfig | SparseAugmentationConfig,
    section: str,
) -> None:
    """Raise InputError where a crop is larger than the frames of a pair that it may be cut from as they are."""
    if config.scale_probability == 1:  # every sample is then resized to what the crop needs
        return
    for index in range(len(dataset)) if indices is None else indices.tolist():
        size = dataset.frame_size(index)
        if size is not None and (size[0] < config.height or size[1] < config.width):
            image = dataset.pairs[index].image1 if isinstance(dataset, FlowPairs) else dataset.names[index]
            raise InputError(
                f"{section}: height and width of the crop are {config.height} and {config.width}, but {image} has "
                f"{size[0]}×{size[1]} px (height × width); set {section}.height and .width to at most that, or "
                ".scale_probability to 1, by which every image is enlarged to fit"
            )


def catalogue(cfg: DictConfig, names: Iterable[str]) -> Catalogue:
    """Return the entries of the section `datasets` of these names; the others may hold values that are not set."""
    unknown = [name for name in names if name not in cfg.datasets]
    if unknown:
        raise InputError(f"there is no data set {unknown[0]}; the section datasets holds {', '.join(cfg.datasets)}")
    found = Catalogue({name: entry(cfg, "datasets", name) for name in names})
    found.typed_as = {name: references(cfg, "datasets", name) for name in found}
    return found
