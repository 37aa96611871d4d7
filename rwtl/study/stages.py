"""The stages: each is a function from a configuration to an artifact, making what is missing upstream."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from torch.utils.data import Dataset, Subset

from rwtl.config import typed
from rwtl.data.clips import ClipsConfig, CropClip, WaveClips, rotate_and_flip
from rwtl.data.flow_data import FlowData, FlowDataConfig, open_dataset, open_with_flow
from rwtl.data.stream import Part, SampleStream, require_scenes
from rwtl.errors import InputError
from rwtl.models.checkpoints import CheckpointInfo, digest_of_weights, load_next_frame, load_raft, recognise, save_model
from rwtl.models.encoder import ModelConfig
from rwtl.models.next_frame import build_next_frame
from rwtl.models.raft import ITERATIONS, build_raft
from rwtl.study.artifact import Artifact, build
from rwtl.study.evaluation import EstimationConfig, evaluate
from rwtl.study.recordings import RECORDING, outputs_folder, path_of, recording, setting
from rwtl.study.submission import write_submission, writer_of
from rwtl.training import next_frame
from rwtl.training.acceleration import accelerate
from rwtl.training.fit import TrainerConfig, fit
from rwtl.training.flow_pictures import FlowPictures
from rwtl.training.next_frame import NextFrameModule, PretrainingRecipe
from rwtl.training.optical_flow import FlowRecipe, OpticalFlowModule
from rwtl.training.transfer import KeepFrozen, TransferConfig, apply_transfer, require_something_to_freeze
from rwtl.waves import RecordingConfig

MODEL = "model.pt"
CURVE = "curve.csv"
TRANSFER = "transfer.json"
PREDICTIONS = "predictions.npz"
ERRORS = "errors.csv"
PICTURES = "pictures"
SUBMISSION = "submission"


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


def pretraining(cfg: DictConfig) -> Artifact:
    """Train the next-frame model; the artifact holds `model.pt`, `curve.csv` and `predictions.npz`."""
    plan = PretrainingPlan.of(cfg)
    clips, recipe = plan.clips, plan.recipe
    source = recording(cfg)

    def make(folder: Path) -> None:
        train = WaveClips(source.path / RECORDING, clips, "training")
        validation = _evenly(WaveClips(source.path / RECORDING, clips, "validation"), recipe.validation_clips)
        print(f"  {len(train)} training clips, {len(validation)} validation clips, dt {clips.dt:g} s", flush=True)
        pl.seed_everything(recipe.seed, verbose=False)
        arguments = asdict(plan.model) | {"iterations": recipe.iterations}
        model = build_next_frame(**arguments, correlation=plan.trainer.correlation)
        augmentations = [CropClip(clips.crop), *([rotate_and_flip] if clips.rotations_and_flips else [])]
        stream = SampleStream([Part(train, augmentations)], recipe.seed, recipe.steps * recipe.batch_size)
        module = NextFrameModule(model, recipe)
        metrics = next_frame.METRICS
        trainer = replace(plan.trainer, scenes_on_device=False)  # a source of waves has none
        curve = fit(module, recipe, stream, [validation], trainer, folder, "pretrain", metrics, callbacks=[])
        curve.to_csv(folder / CURVE, index=False)
        save_model(folder / MODEL, "next_frame", arguments, model)
        _save_predictions(folder / PREDICTIONS, model, _evenly(validation, 4))

    return build(outputs_folder(cfg), "pretraining", "pretraining", plan.values(), make, {"recording": source})


def _evenly(clips: WaveClips | Subset, most: int) -> Subset:
    """At most so many clips, evenly spread over time."""
    return Subset(clips, np.linspace(0, len(clips) - 1, min(most, len(clips))).round().astype(int).tolist())


def curve(artifact: Artifact) -> pd.DataFrame:
    """Return the validation curve of a pre-training or a training: `step` and one column for each metric."""
    return pd.read_csv(artifact.path / CURVE)


def against_baselines(artifact: Artifact) -> str:
    """Say how a pre-trained model does beside copying I2 and extrapolating, on the same validation clips."""
    last = curve(artifact).iloc[-1]
    baselines = {"mse_copy": "copying I2", "mse_extrapolation": "extrapolating 2·I2 - I1"}
    better = [text for name, text in baselines.items() if last.mse < last[name]]
    verdict = f"better than {' and '.join(better)}" if better else "worse than both baselines"
    errors = ", ".join(f"{text} {last[name]:.3g}" for name, text in baselines.items())
    return f"validation MSE: next-frame model {last.mse:.3g}, {errors}: the model is {verdict}"


@torch.no_grad()
def _save_predictions(file: Path, model: torch.nn.Module, clips: Subset) -> None:
    shown = torch.stack([clips[k] for k in range(len(clips))])  # (clips, 3, 1, h, w)
    predicted = model.eval()(shown[:, 0], shown[:, 1])
    np.savez_compressed(file, clips=shown[:, :, 0].numpy(), predicted=predicted[:, 0].numpy())


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


def training(cfg: DictConfig) -> Artifact:
    """Train RAFT for optical flow; the artifact holds `model.pt`, `curve.csv`, `transfer.json` and `pictures`."""
    plan = TrainingPlan.of(cfg)
    transfer, recipe, seed, trainer = plan.transfer, plan.recipe, plan.seed, plan.trainer
    parents = {"pretraining": pretraining(cfg)} if transfer.load_feature_encoder else {}

    def make(folder: Path) -> None:
        pl.seed_everything(seed, verbose=False)
        arguments = asdict(plan.model) | {"iterations": recipe.iterations}
        model = build_raft(**arguments, correlation=trainer.correlation)
        if plan.start_from:
            model.load_state_dict(plan.start_from.weights)
            print(f"  starting from {cfg.start_from}: {plan.start_from}", flush=True)
        source, source_name = None, "the pre-training"
        if parents:
            source_name = str(parents["pretraining"].path / MODEL)
            source = load_next_frame(Path(source_name)).state_dict()
        report = apply_transfer(model, transfer, source, source_name)
        print(f"  transfer {transfer.name}: {report}", flush=True)
        (folder / TRANSFER).write_text(json.dumps(report.to_dict(), indent=2) + "\n")
        stream = SampleStream(list(plan.data.parts.values()), seed, recipe.steps * recipe.batch_size)
        label = f"train {transfer.name} seed {seed}"
        module = OpticalFlowModule(model, recipe, plan.data.validation)
        callbacks = [KeepFrozen(model, report), FlowPictures(folder / PICTURES, list(plan.data.validation))]
        validation = list(plan.data.validation.values())
        curve = fit(module, recipe, stream, validation, trainer, folder, label, module.metrics, callbacks)
        curve.to_csv(folder / CURVE, index=False)
        save_model(folder / MODEL, "raft", arguments, model)

    label = f"training {transfer.name} seed {seed}"
    return build(outputs_folder(cfg), "training", label, plan.values(), make, parents)


@dataclass
class EvaluationPlan:
    """The checked configuration of an evaluation, with its data sets."""

    config: EstimationConfig
    trainer: TrainerConfig
    datasets: dict[str, Dataset]

    @classmethod
    def of(cls, cfg: DictConfig) -> "EvaluationPlan":
        config = typed(EstimationConfig, setting(cfg, "evaluation"), "evaluation")
        trainer = typed(TrainerConfig, setting(cfg, "trainer"), "trainer")
        entries = _catalogue(cfg, config.datasets)
        plan = cls(config, trainer, {name: open_with_flow(name, entries) for name in config.datasets})
        if config.warm_start and not any(hasattr(dataset, "sequences") for dataset in plan.datasets.values()):
            raise InputError(
                "evaluation.warm_start goes on within sequences, of which there are none in "
                f"{', '.join(plan.datasets)}: set it to false"
            )
        return plan

    def values(self) -> dict[str, Any]:
        """Return what determines the result, apart from the model."""
        datasets = {name: data.identity() for name, data in self.datasets.items()}
        return asdict(self.config) | {"datasets": datasets, "precision": self.trainer.precision}


def evaluation(cfg: DictConfig, trained: Artifact | None = None) -> Artifact:
    """Evaluate a RAFT; the artifact holds `errors.csv`.

    It is that of `trained`, or of the configuration's `checkpoint`, or else the run that the configuration describes.
    """
    plan = EvaluationPlan.of(cfg)  # before any training: a folder that is not there should not cost one
    values, parents = plan.values(), {}
    if trained is None and cfg.get("checkpoint") is not None:
        checkpoint, label = path_of(cfg, "checkpoint"), f"evaluate {cfg.checkpoint}"
        values |= _described(checkpoint, plan.config)
    else:
        trained = trained or training(cfg)
        parents["training"] = trained
        checkpoint, label = trained.path / MODEL, f"evaluate {cfg.transfer.name} seed {cfg.seed}"

    def make(folder: Path) -> None:
        torch.set_num_threads(plan.trainer.threads)
        model, device = load_raft(checkpoint, correlation=plan.trainer.correlation), plan.trainer.device()
        accelerate(model, plan.trainer.compile, plan.trainer.channels_last)
        how = (plan.config.iterations, plan.config.warm_start, label, device, plan.trainer.precision)
        errors = evaluate(model, plan.datasets, *how)
        errors.to_csv(folder / ERRORS, index=False)

    return build(outputs_folder(cfg), "evaluation", label, values, make, parents)


def submission(cfg: DictConfig) -> Artifact:
    """Write a checkpoint's flow of a benchmark's test split; the artifact holds the folder `submission`."""
    checkpoint = path_of(cfg, "checkpoint")
    config = typed(EstimationConfig, setting(cfg, "submission"), "submission")
    trainer = typed(TrainerConfig, setting(cfg, "trainer"), "trainer")
    entries = _catalogue(cfg, config.datasets)
    datasets = {name: open_dataset(name, entries) for name in config.datasets}
    for name, dataset in datasets.items():
        writer_of(name, dataset, Path(SUBMISSION))  # one that no benchmark takes is refused before any work
    identities = {name: data.identity() for name, data in datasets.items()}
    values = asdict(config) | {"datasets": identities, "precision": trainer.precision} | _described(checkpoint, config)

    def make(folder: Path) -> None:
        torch.set_num_threads(trainer.threads)
        model = load_raft(checkpoint, correlation=trainer.correlation)
        accelerate(model, trainer.compile, trainer.channels_last)
        write_submission(model, datasets, config, folder / SUBMISSION, trainer.device(), trainer.precision)

    return build(outputs_folder(cfg), "submission", f"submission of {checkpoint}", values, make)


def _described(checkpoint: Path, config: EstimationConfig) -> dict[str, Any]:
    """Say what a checkpoint holds, and return what an estimate by it depends on: not whose format it has."""
    info = recognise(checkpoint)
    print(f"{checkpoint} holds {info}", flush=True)
    iterations = config.iterations or info.arguments.get("iterations", ITERATIONS)
    weights = digest_of_weights(info.weights)
    return {"model": [info.variant, info.feature_norm], "weights": weights, "iterations": iterations}


def errors_by_pair(artifact: Artifact) -> pd.DataFrame:
    """Return the errors of an evaluation, one row for each pair."""
    return pd.read_csv(artifact.path / ERRORS, dtype={"pair": str})
