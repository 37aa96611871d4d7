"""A source task before it is trained: its checked configuration, and the data that it learns from."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig
from torch import nn
from torch.utils.data import Dataset, Subset

from rwtl.clips.config import ClipsConfig
from rwtl.clips.dataset import WaveClips, training_part, validation_clips
from rwtl.clips.front_flow import WaveFlow, WholePairs
from rwtl.clips.scenes import SceneClips, SceneClipsConfig, scene_clips
from rwtl.config import setting
from rwtl.errors import InputError
from rwtl.flow.catalogue import catalogue
from rwtl.learning.recipe import TrainerConfig
from rwtl.learning.tasks.next_frame import PretrainingRecipe
from rwtl.learning.tasks.optical_flow import WaveFlowRecipe, wave_flow_data
from rwtl.learning.tasks.self_supervised import SelfSupervisedRecipe
from rwtl.learning.transfer.config import PRETRAINING, Source, TransferConfig
from rwtl.models.checkpoints import digest_of_weights
from rwtl.models.correlation import CorrelationKind
from rwtl.models.encoder import ModelConfig
from rwtl.models.next_frame import build_next_frame
from rwtl.models.raft import build_raft
from rwtl.pipeline.recording import recording_configs
from rwtl.pipeline.source import load_source
from rwtl.random import evenly
from rwtl.sampling import Part
from rwtl.sections import chosen, typed

CLIPS = {"waves": ClipsConfig, "scenes": SceneClipsConfig}
RECIPES = {"next_frame": PretrainingRecipe, "wave_flow": WaveFlowRecipe, "self_supervised": SelfSupervisedRecipe}
T = TypeVar("T")


@dataclass
class PretrainingPlan:
    """The checked configuration of a pre-training.

    Args:
        kind: the source task, a key of RECIPES.
        clips_kind: what it is trained on, a key of CLIPS.
        clips: how clips are cut, or made.
        scenes: training and validation clips of procedural scenes; None where clips are cut from waves.
        model: variant and normalisation of the feature encoder.
        recipe: how it is trained.
        trainer: where and how fast.
        initial: what it begins with in place of random weights.
        source: of which the initial weights are, or None.
    """

    kind: str
    clips_kind: str
    clips: ClipsConfig | SceneClipsConfig
    scenes: tuple[SceneClips, SceneClips] | None
    model: ModelConfig
    recipe: PretrainingRecipe | WaveFlowRecipe | SelfSupervisedRecipe
    trainer: TrainerConfig
    initial: TransferConfig
    source: Source | None

    @classmethod
    def of(cls, cfg: DictConfig) -> "PretrainingPlan":
        kind, recipe = of_kind(cfg, "pretraining", RECIPES)
        clips_kind, clips = of_kind(cfg, "clips", CLIPS)
        scenes = None
        if clips_kind == "waves":
            recording_configs(cfg)
        else:
            scenes = scene_clips(clips, catalogue(cfg, (clips.dataset, clips.validation_dataset)))
        if kind == "next_frame":
            if clips.length < 3:
                raise InputError(f"clips.length is {clips.length}; predicting the next frame takes 3 or more")
        elif clips_kind != "waves":
            raise InputError(f"pretraining.kind is {kind}, which learns from waves; use clips=triplets")
        else:
            clips = replace(clips, length=2)
        initial = typed(TransferConfig, setting(cfg, "initial"), "initial")
        if initial.source == PRETRAINING:
            raise InputError("initial.source is what the pre-training begins with: give a checkpoint, or null")
        model = typed(ModelConfig, setting(cfg, "model"), "model")
        trainer = typed(TrainerConfig, setting(cfg, "trainer"), "trainer")
        trainer.require_shares(recipe.batch_size, "pretraining.batch_size")
        source = load_source(initial.source) if initial.source is not None else None
        return cls(kind, clips_kind, clips, scenes, model, recipe, trainer, initial, source)

    @property
    def colour(self) -> str:
        """The colours of the frames that the encoder is trained on."""
        return colour_of(self.clips_kind, self.clips)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the model's builder."""
        arguments = asdict(self.model) | {"iterations": self.recipe.iterations}
        if self.kind != "next_frame":
            return arguments
        return arguments | {"colour": self.colour, "decoder": self.recipe.decoder, "context": self.recipe.context}

    def build(self, correlation: CorrelationKind = "all_pairs") -> nn.Module:
        """Return the model with random weights."""
        make = build_next_frame if self.kind == "next_frame" else build_raft
        return make(**self.arguments, correlation=correlation)

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
            "model": asdict(self.model),
            "pretraining": {"kind": self.kind, **asdict(self.recipe)},
            "initial": transfer_values(self.initial, self.source),
            "precision": self.trainer.precision,
        }


def of_kind(cfg: DictConfig, section: str, kinds: Mapping[str, type[T]]) -> tuple[str, T]:
    """Return the `kind` of a section and its typed rest; an unknown kind is an InputError."""
    kind, values = chosen(kinds, setting(cfg, section), section)
    return kind, typed(kinds[kind], values, section)


def colour_of(kind: str, clips: ClipsConfig | SceneClipsConfig) -> str:
    """Return the colours of the frames of clips."""
    return "rgb" if kind == "scenes" else clips.colour


def clips_colour(cfg: DictConfig) -> str:
    """Return the colours of the frames that the configured clips show to an encoder."""
    return colour_of(*of_kind(cfg, "clips", CLIPS))


def transfer_values(transfer: TransferConfig, source: Source | None) -> dict[str, Any]:
    """Return what determines the result of a transfer: a source counts by its weights, a name not at all."""
    values = {key: value for key, value in asdict(transfer).items() if key != "name"}
    return values | ({"source": digest_of_weights(source.weights)} if source else {})


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
        some = Subset(validation, evenly(len(validation), plan.recipe.validation_clips))
        return SourceData(Part(training), some, None, None, None, text)
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
