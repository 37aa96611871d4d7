"""Optical-flow training: its checked configuration, and the stage from a pre-training to a trained RAFT."""

from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import indent
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig

from rwtl import files
from rwtl.config import outputs_folder, path_of, setting
from rwtl.errors import InputError
from rwtl.flow.catalogue import FlowData, FlowDataConfig, catalogue
from rwtl.learning.fit import fit
from rwtl.learning.recipe import TrainerConfig
from rwtl.learning.tasks.optical_flow import FlowRecipe, OpticalFlowModule
from rwtl.learning.transfer.callback import Transfer, require_unfreezing_within
from rwtl.learning.transfer.config import PRETRAINING, Source, TransferConfig
from rwtl.models.checkpoints import CheckpointInfo, digest_of_weights, recognise, save_model
from rwtl.models.parts import ModelConfig
from rwtl.models.raft import build_raft
from rwtl.overrides import pasted
from rwtl.pipeline.pretraining import TrainedArtifact, lineage, pretraining
from rwtl.pipeline.source import load_source
from rwtl.pipeline.source_task import clips_colour, transfer_values
from rwtl.pipeline.source_tasks import pretraining_plan
from rwtl.plugins import load_plugins
from rwtl.progress import say
from rwtl.sampling import SampleStream, require_scenes
from rwtl.sections import Seed, checked, typed
from rwtl.tracking.loggers import check_loggers, tracking
from rwtl.tracking.pictures import FlowPictures


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
        load_plugins(cfg)
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
            checked(Seed, cfg.seed, "seed"),
            _start(path_of(cfg, "start_from") if cfg.start_from is not None else None, model),
            load_source(transfer.source) if from_path else None,
            clips_colour(cfg) if transfer.source is not None else None,
        )
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
            source = pretraining_plan(cfg).untrained() if transfer.source == PRETRAINING else plan.source
            done = Transfer(build_raft(**asdict(model)), transfer, source, plan.colour)
        require_unfreezing_within(done, plan.recipe.steps)
        return plan

    def values(self) -> dict[str, Any]:
        """Return what determines the result, apart from the pre-training."""
        parts = {"model": self.model.identity(), "recipe": asdict(self.recipe)}
        parts |= {"transfer": transfer_values(self.transfer, self.source)}
        parts |= {"flow_data": self.data.identity(), "seed": self.seed, "precision": self.trainer.precision}
        return parts | {"start_from": self.start_from and digest_of_weights(self.start_from.weights)}


def _start(path: Path | None, model: ModelConfig) -> CheckpointInfo | None:
    """Return the RAFT that a training starts from, which must be of the configured model."""
    if path is None:
        return None
    info = recognise(path)
    found = ModelConfig(info.variant, info.feature_norm, info.levels)
    if found != model:
        use = pasted({f"model.{key}": value for key, value in asdict(found).items()})
        raise InputError(
            f"start_from {path} holds {info}, but the model is {model.variant} with feature_norm {model.feature_norm} "
            f"and {model.levels} levels; use {use}, or another checkpoint"
        )
    return info


def training(cfg: DictConfig) -> TrainedArtifact:
    """Return the optical-flow training of a configuration: a plan. One that was interrupted is resumed bit-identically.

    The artifact holds `model.pt`, `curve.csv`, `metrics.csv`, `transfer.json`, `subset.json` (the samples that training
    draws from) and `pictures`.

    >>> run = rwtl.training(cfg)
    >>> for artifact in run.ancestors():
    ...     print(artifact.kind, artifact.digest, artifact.state())
    recording ... missing
    pretraining ... missing
    training ... missing
    """
    plan = TrainingPlan.of(cfg)
    check_loggers(cfg)
    config, recipe, seed, trainer = plan.transfer, plan.recipe, plan.seed, plan.trainer
    parents = {"pretraining": pretraining(cfg)} if config.source == PRETRAINING else {}

    def make(folder: Path) -> None:
        pl.seed_everything(seed, verbose=False)
        arguments = asdict(plan.model) | {"iterations": recipe.iterations}
        model = build_raft(**arguments, correlation=trainer.correlation)
        if plan.start_from:
            model.load_state_dict(plan.start_from.weights)
            say(f"  starting from {cfg.start_from}: {plan.start_from}")
        source = load_source(parents["pretraining"].path) if parents else plan.source
        transfer = Transfer(model, config, source, plan.colour, seed)
        say(f"  transfer {config.name}: {transfer.report}; all names are in {files.TRANSFER}")
        if config.load:
            say(indent(transfer.report.table(), "    "))
        files.write_json(folder / files.TRANSFER, transfer.report.to_dict())
        files.write_json(folder / files.SUBSET, plan.data.drawn())
        stream = SampleStream(list(plan.data.parts.values()), seed, recipe.steps * recipe.batch_size)
        module = OpticalFlowModule(model, recipe, plan.data.validation, transfer)
        callbacks = [transfer, FlowPictures(folder / files.PICTURES, list(plan.data.validation))]
        validation = list(plan.data.validation.values())
        with tracking(cfg, artifact.kind, artifact.digest, label, lineage(parents)) as tracker:
            tracker.transfer(transfer.report)
            of_run = (trainer, folder, f"train {config.name} seed {seed}", module.metrics, callbacks, tracker.loggers)
            curve = fit(module, recipe, stream, validation, *of_run)
            curve.to_csv(folder / files.CURVE, index=False)
            save_model(folder / files.MODEL, "raft", arguments, model)
            tracker.model(folder / files.MODEL)

    label = f"training {config.name} seed {seed}"
    outputs = outputs_folder(cfg)
    artifact = TrainedArtifact("training", label, plan.values(), make, outputs, parents, resumable=True, config=cfg)
    return artifact
