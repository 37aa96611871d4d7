"""The checked configuration of each stage: typed sections and open data sets, before anything is made of them."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch.utils.data import Dataset

from rwtl.config import path_of, require_seed, setting, typed
from rwtl.errors import InputError
from rwtl.flow.catalogue import FlowData, FlowDataConfig, catalogue, open_dataset, open_with_flow
from rwtl.models.checkpoints import CheckpointInfo, digest_of_weights, recognise
from rwtl.models.encoder import ModelConfig
from rwtl.models.raft import build_raft
from rwtl.pipeline.source_task import PretrainingPlan, clips_colour, transfer_values
from rwtl.sampling import require_scenes
from rwtl.training.evaluation import EstimationConfig
from rwtl.training.recipe import TrainerConfig
from rwtl.training.tasks.optical_flow import FlowRecipe
from rwtl.training.transfer.callback import Transfer, require_unfreezing_within
from rwtl.training.transfer.config import PRETRAINING, TransferConfig
from rwtl.training.transfer.source import Source, load_source


@dataclass
class TrainingPlan:
    """The checked configuration of an optical-flow training, with its data sets.

    Args:
        source: of which the transferred parts are, where the transfer names a path; None for a pre-training that is
            still to be made, and for none.
        colour: of the frames that the source task shows to the encoder; None where nothing is transferred.
    """

    model: ModelConfig
    transfer: TransferConfig
    recipe: FlowRecipe
    trainer: TrainerConfig
    data: FlowData
    seed: int
    start_from: CheckpointInfo | None
    source: Source | None
    colour: str | None

    @classmethod
    def of(cls, cfg: DictConfig) -> "TrainingPlan":
        transfer = typed(TransferConfig, setting(cfg, "transfer"), "transfer")
        from_path = transfer.source not in (None, PRETRAINING)
        data = typed(FlowDataConfig, setting(cfg, "flow_data"), "flow_data")
        model = typed(ModelConfig, setting(cfg, "model"), "model")
        plan = cls(
            model,
            transfer,
            typed(FlowRecipe, setting(cfg, "training"), "training"),
            typed(TrainerConfig, setting(cfg, "trainer"), "trainer"),
            FlowData.of(data, catalogue(cfg, [*data.used(), *data.validation])),
            cfg.seed,
            _start(path_of(cfg, "start_from") if cfg.start_from is not None else None, model),
            load_source(transfer.source) if from_path else None,
            clips_colour(cfg) if transfer.source is not None else None,
        )
        require_seed(plan.seed, "seed")
        if plan.recipe.freeze_batchnorm_statistics and plan.start_from is None:
            raise InputError(
                "training.freeze_batchnorm_statistics keeps running statistics that nothing has trained: give the RAFT "
                "checkpoint of the schedule before as start_from=..., or set it to false"
            )
        plan.trainer.require_shares(plan.recipe.batch_size, "training.batch_size")
        if plan.trainer.scenes_on_device:
            require_scenes(list(plan.data.parts.values()))
        if plan.start_from and "feature_encoder" in transfer.load:
            raise InputError(
                f"transfer {transfer.name} loads a feature encoder, and so does start_from {cfg.start_from}; "
                "use transfer=scratch, or start_from=null"
            )
        with torch.device("meta"):  # what does not fit ends here, not after the waves and the pre-training
            source = PretrainingPlan.of(cfg).untrained() if transfer.source == PRETRAINING else plan.source
            done = Transfer(build_raft(**asdict(model)), transfer, source, plan.colour)
        require_unfreezing_within(done, plan.recipe.steps)
        return plan

    def values(self) -> dict[str, Any]:
        """Return what determines the result, apart from the pre-training."""
        parts = {name: asdict(getattr(self, name)) for name in ("model", "recipe")}
        parts |= {"transfer": transfer_values(self.transfer, self.source)}
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
        entries = catalogue(cfg, config.datasets)
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
