"""What a source task is, its checked configuration, and the data that it learns from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pytorch_lightning as pl
from omegaconf import DictConfig
from torch import nn
from torch.utils.data import Dataset, Subset

from rwtl.clips.config import ClipsConfig
from rwtl.clips.dataset import training_part, validation_clips
from rwtl.clips.scenes import SceneClips, SceneClipsConfig
from rwtl.config import setting
from rwtl.learning.recipe import Recipe, SourceRecipe, Task, TrainerConfig
from rwtl.learning.transfer.callback import Transfer
from rwtl.learning.transfer.config import Source, TransferConfig
from rwtl.models.checkpoints import BUILDERS, digest_of_weights
from rwtl.models.correlation import CorrelationKind
from rwtl.models.parts import ModelConfig
from rwtl.random import evenly
from rwtl.sampling import Part
from rwtl.sections import chosen, typed

CLIPS = {"waves": ClipsConfig, "scenes": SceneClipsConfig}
Clips = ClipsConfig | SceneClipsConfig
T = TypeVar("T")


@dataclass
class SourceData:
    """The data of a source task.

    Args:
        training: the data set, with its augmentations.
        validation: samples that no augmentation changes.
        fronts: pairs of the validation part with the flow of their fronts; None where nothing is measured on them.
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


@dataclass
class PretrainingPlan:
    """The checked configuration of a pre-training.

    Args:
        kind: the source task's name.
        task: what the source task is.
        clips_kind: what it is trained on, a key of CLIPS.
        clips: how clips are cut, or made.
        scenes: training and validation clips of procedural scenes; None where clips are cut from waves.
        model: variant and normalisation of the feature encoder.
        recipe: how it is trained.
        trainer: where and how fast.
        initial: what it begins with in place of random weights.
        source: of which the initial weights are, or None.
        code: of the source task, where a plug-in registered it.
    """

    kind: str
    task: "SourceTask"
    clips_kind: str
    clips: Clips
    scenes: tuple[SceneClips, SceneClips] | None
    model: ModelConfig
    recipe: Recipe
    trainer: TrainerConfig
    initial: TransferConfig
    source: Source | None
    code: dict[str, str]

    @property
    def colour(self) -> str:
        """The colours of the frames that the encoder is trained on."""
        return colour_of(self.clips_kind, self.clips)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the model's builder."""
        return asdict(self.model) | {"iterations": self.recipe.iterations} | self.task.arguments(self)

    def build(self, correlation: CorrelationKind = "all_pairs") -> nn.Module:
        """Return the model with random weights."""
        return BUILDERS[self.task.model](**self.arguments, correlation=correlation)

    def untrained(self) -> Source:
        """Return what can be transferred from the model, before it is trained."""
        weights = self.build().state_dict()
        return Source("the pre-training", self.model.variant, self.model.feature_norm, self.colour, weights)

    def values(self) -> dict[str, Any]:
        """Return what determines the result, apart from the recordings."""
        clips = {key: value for key, value in asdict(self.clips).items() if key != "recordings"}
        return {
            "clips": {"kind": self.clips_kind, "colour": self.colour, **clips},
            "scenes": self.scenes and [scenes.identity() for scenes in self.scenes],
            "model": self.model.identity(),
            "pretraining": {"kind": self.kind, **asdict(self.recipe), **self.code},
            "initial": transfer_values(self.initial, self.source),
            "precision": self.trainer.precision,
        }


def of_kind(cfg: DictConfig, section: str, kinds: Mapping[str, type[T]]) -> tuple[str, T]:
    """Return the `kind` of a section and its typed rest; an unknown kind is an InputError."""
    kind, values = chosen(kinds, setting(cfg, section), section)
    return kind, typed(kinds[kind], values, section)


def colour_of(kind: str, clips: Clips) -> str:
    """Return the colours of the frames of clips."""
    return "rgb" if kind == "scenes" else clips.colour


def clips_colour(cfg: DictConfig) -> str:
    """Return the colours of the frames that the configured clips show to an encoder."""
    return colour_of(*of_kind(cfg, "clips", CLIPS))


def transfer_values(transfer: TransferConfig, source: Source | None) -> dict[str, Any]:
    """Return what determines the result of a transfer: a source counts by its weights, a name not at all."""
    values = {key: value for key, value in asdict(transfer).items() if key != "name"}
    return values | ({"source": digest_of_weights(source.weights)} if source else {})


def clips_data(plan: PretrainingPlan, recordings: Sequence[Path]) -> SourceData:
    """Open clips of waves or scenes; what leaves nothing to train on is an InputError."""
    if plan.scenes:
        training, validation = plan.scenes
        text = f"{len(training)} training scenes, {len(validation)} validation scenes"
        some = Subset(validation, evenly(len(validation), plan.recipe.validation_clips))
        return SourceData(Part(training), some, None, None, None, text)
    return wave_clips_data(plan, recordings, plan.recipe.validation_clips)


def wave_clips_data(plan: PretrainingPlan, recordings: Sequence[Path], most: int) -> SourceData:
    """Open clips of waves, at most `most` of them for validation; what leaves nothing is an InputError."""
    training, augmentations = training_part(recordings, plan.clips)
    validation = validation_clips(recordings, plan.clips, training.calcium_range, most)
    text = described(plan, len(training), str(training.counts), len(validation), training.calcium_range)
    part = Part(training, augmentations)
    return SourceData(part, validation, None, training.calcium_range, training.active_level, text)


def described(plan: PretrainingPlan, training: int, counts: str, validation: int, span: tuple[float, float]) -> str:
    """Return clips of waves in a few words."""
    return (
        f"{training} training clips ({counts}), {validation} validation clips, dt {plan.clips.dt:g} s, "
        f"{span[0]:.0f} to {span[1]:.0f} nM"
    )


def last_validation(
    folder: Path, plan: PretrainingPlan, model: nn.Module, data: SourceData, curve: pd.DataFrame
) -> str:
    """Return the metrics of the last validation in words."""
    last = curve.iloc[-1]
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in last.items() if name != "step")
    return f"validation after {last.step:.0f} steps: {metrics}"


Module = Callable[[PretrainingPlan, nn.Module, SourceData, Transfer], Task]
Results = Callable[[Path, PretrainingPlan, nn.Module, SourceData, pd.DataFrame], str]


@dataclass(frozen=True)
class SourceTask:
    """What source tasks differ in.

    Args:
        module: makes what trains the model.
        recipe: class of the section `pretraining`, with the keys `iterations` and `seed`.
        clips: returns what clips become for the task, of their kind; raises InputError for those that it cannot take.
        data: opens what it learns from.
        model: kind of the model, a key of BUILDERS.
        arguments: further arguments of the model's builder.
        pictures: callbacks that draw, given a folder.
        results: writes files into the artifact's folder, and returns a sentence on how good the model has become.
    """

    module: Module
    recipe: type[Recipe] = SourceRecipe
    clips: Callable[[str, Clips], Clips] = lambda kind, clips: clips
    data: Callable[[PretrainingPlan, Sequence[Path]], SourceData] = clips_data
    model: str = "raft"
    arguments: Callable[[PretrainingPlan], dict[str, Any]] = lambda plan: {}
    pictures: Callable[[Path], list[pl.Callback]] = lambda folder: []
    results: Results = last_validation
