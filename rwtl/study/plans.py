"""The checked configuration of each stage: typed sections and open data sets, before anything is made of them."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch.utils.data import Dataset

from rwtl.config import typed
from rwtl.data.clips import ClipsConfig
from rwtl.data.flow_data import FlowData, FlowDataConfig, open_dataset, open_with_flow
from rwtl.data.stream import require_scenes
from rwtl.errors import InputError
from rwtl.models.checkpoints import CheckpointInfo, digest_of_weights, recognise
from rwtl.models.encoder import ModelConfig
from rwtl.models.raft import build_raft
from rwtl.study.evaluation import EstimationConfig
from rwtl.study.recordings import path_of, setting
from rwtl.training.fit import TrainerConfig
from rwtl.training.next_frame import PretrainingRecipe
from rwtl.training.optical_flow import FlowRecipe
from rwtl.training.transfer import TransferConfig, require_something_to_freeze
from rwtl.waves import RecordingConfig


@dataclass
class PretrainingPlan:
    """The checked configuration of a pre-training."""

    clips: ClipsConfig
    model: ModelConfig
    recipe: PretrainingRecipe
    trainer: TrainerConfig

    @classmethod
    def of(cls, cfg: DictConfig) -> "PretrainingPlan":
        typed(RecordingConfig, setting(cfg, "recording"), "recording")
        plan = cls(
            typed(ClipsConfig, setting(cfg, "clips"), "clips"),
            typed(ModelConfig, setting(cfg, "model"), "model"),
            typed(PretrainingRecipe, setting(cfg, "pretraining"), "pretraining"),
            typed(TrainerConfig, setting(cfg, "trainer"), "trainer"),
        )
        if plan.clips.length != 3:
            raise InputError(f"clips.length is {plan.clips.length}; the next-frame model takes triplets, length 3")
        return plan

    def values(self) -> dict[str, Any]:
        """Return what determines the result, apart from the recording."""
        parts = {"clips": asdict(self.clips), "model": asdict(self.model), "pretraining": asdict(self.recipe)}
        return parts | {"precision": self.trainer.precision}


def _catalogue(cfg: DictConfig, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the entries of the section `datasets` of these names; the others may hold values that are not set."""
    unknown = [name for name in names if name not in cfg.datasets]
    if unknown:
        raise InputError(f"there is no data set {unknown[0]}; the section datasets holds {', '.join(cfg.datasets)}")
    return {name: setting(cfg, f"datasets.{name}") for name in names}


@dataclass
class TrainingPlan:
    """The checked configuration of an optical-flow training, with its data sets."""

    model: ModelConfig
    transfer: TransferConfig
    recipe: FlowRecipe
    trainer: TrainerConfig
    data: FlowData
    seed: int
    start_from: CheckpointInfo | None

    @classmethod
    def of(cls, cfg: DictConfig) -> "TrainingPlan":
        data = typed(FlowDataConfig, setting(cfg, "flow_data"), "flow_data")
        model = typed(ModelConfig, setting(cfg, "model"), "model")
        plan = cls(
            model,
            typed(TransferConfig, setting(cfg, "transfer"), "transfer"),
            typed(FlowRecipe, setting(cfg, "training"), "training"),
            typed(TrainerConfig, setting(cfg, "trainer"), "trainer"),
            FlowData.of(data, _catalogue(cfg, [*data.used(), *data.validation])),
            cfg.seed,
            _start(path_of(cfg, "start_from") if cfg.start_from is not None else None, model),
        )
        if not isinstance(plan.seed, int) or plan.seed < 0:
            raise InputError(f"seed is {plan.seed!r}; it must be a whole number, 0 or more")
        if plan.recipe.freeze_batchnorm_statistics and plan.start_from is None:
            raise InputError(
                "training.freeze_batchnorm_statistics keeps running statistics that nothing has trained: give the RAFT "
                "checkpoint of the schedule before as start_from=..., or set it to false"
            )
        if plan.trainer.scenes_on_device:
            require_scenes(list(plan.data.parts.values()))
        require_something_to_freeze(build_raft(**asdict(plan.model)), plan.transfer)
        if plan.transfer.load_feature_encoder:
            PretrainingPlan.of(cfg)
            if plan.start_from:
                raise InputError(
                    f"transfer {plan.transfer.name} loads a feature encoder, and so does start_from {cfg.start_from}; "
                    "use transfer=scratch, or start_from=null"
                )
        return plan

    def values(self) -> dict[str, Any]:
        """Return what determines the result, apart from the pre-training."""
        parts = {name: asdict(getattr(self, name)) for name in ("model", "transfer", "recipe")}
        parts |= {"flow_data": self.data.identity(), "seed": self.seed, "precision": self.trainer.precision}
        return parts | {"start_from": self.start_from and digest_of_weights(self.start_from.weights)}


def _start(path: Path | None, model: ModelConfig) -> CheckpointInfo | None:
    """Return the RAFT that a training starts from, which must be of the configured model."""
    if path is None:
        return None
    info = recognise(path)
    found = ModelConfig(info.variant, info.feature_norm)
    if found != model:
        raise InputError(
            f"start_from {path} holds {info}, but the model is {model.variant} with feature_norm {model.feature_norm}; "
            f"use model.variant={found.variant} model.feature_norm={found.feature_norm}, or another checkpoint"
        )
    return info


@dataclass
class EstimationPlan:
    """The checked configuration of an evaluation or a submission, with its data sets."""

    config: EstimationConfig
    trainer: TrainerConfig
    datasets: dict[str, Dataset]

    @classmethod
    def of(cls, cfg: DictConfig, section: str) -> "EstimationPlan":
        """Return the plan of the section `evaluation`, whose data sets must have flow, or `submission`."""
        config = typed(EstimationConfig, setting(cfg, section), section)
        trainer = typed(TrainerConfig, setting(cfg, "trainer"), "trainer")
        entries = _catalogue(cfg, config.datasets)
        opened = open_with_flow if section == "evaluation" else open_dataset
        plan = cls(config, trainer, {name: opened(name, entries) for name in config.datasets})
        if config.warm_start and not any(hasattr(dataset, "sequences") for dataset in plan.datasets.values()):
            raise InputError(
                f"{section}.warm_start goes on within sequences, of which there are none in "
                f"{', '.join(plan.datasets)}: set it to false"
            )
        return plan

    def values(self) -> dict[str, Any]:
        """Return what determines the result, apart from the model."""
        datasets = {name: data.identity() for name, data in self.datasets.items()}
        return asdict(self.config) | {"datasets": datasets, "precision": self.trainer.precision}
