"""The stages: each is a function from a configuration to an artifact, making what is missing upstream."""

import hashlib
import json
from dataclasses import asdict, dataclass
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
from rwtl.data.flow_sources import FlowSource, flow_source
from rwtl.data.stream import Part, SampleStream
from rwtl.errors import InputError
from rwtl.models.checkpoints import load_next_frame, load_raft, save_model
from rwtl.models.encoder import ModelConfig
from rwtl.models.next_frame import build_next_frame
from rwtl.models.raft import build_raft
from rwtl.study.artifact import Artifact, build
from rwtl.study.evaluation import EvaluationConfig, evaluate
from rwtl.study.recordings import RECORDING, outputs_folder, recording, section
from rwtl.training import next_frame
from rwtl.training.fit import TrainerConfig, fit
from rwtl.training.metrics import METRICS
from rwtl.training.next_frame import NextFrameModule, PretrainingRecipe
from rwtl.training.optical_flow import FlowRecipe, OpticalFlowModule
from rwtl.training.transfer import KeepFrozen, TransferConfig, apply_transfer, require_something_to_freeze
from rwtl.waves import RecordingConfig

MODEL = "model.pt"
CURVE = "curve.csv"
TRANSFER = "transfer.json"
PREDICTIONS = "predictions.npz"
ERRORS = "errors.csv"


@dataclass
class PretrainingPlan:
    """The checked configuration of a pre-training."""

    clips: ClipsConfig
    model: ModelConfig
    recipe: PretrainingRecipe
    trainer: TrainerConfig

    @classmethod
    def of(cls, cfg: DictConfig) -> "PretrainingPlan":
        typed(RecordingConfig, section(cfg, "recording"), "recording")
        plan = cls(
            typed(ClipsConfig, section(cfg, "clips"), "clips"),
            typed(ModelConfig, section(cfg, "model"), "model"),
            typed(PretrainingRecipe, section(cfg, "pretraining"), "pretraining"),
            typed(TrainerConfig, section(cfg, "trainer"), "trainer"),
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
        model = build_next_frame(**arguments)
        augmentations = [CropClip(clips.crop), *([rotate_and_flip] if clips.rotations_and_flips else [])]
        stream = SampleStream([Part(train, augmentations)], recipe.seed, recipe.steps * recipe.batch_size)
        module = NextFrameModule(model, recipe)
        metrics = next_frame.METRICS
        curve = fit(module, recipe, stream, validation, plan.trainer, folder, "pretrain", metrics, callbacks=[])
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


@dataclass
class TrainingPlan:
    """The checked configuration of an optical-flow training, with its data sets."""

    model: ModelConfig
    transfer: TransferConfig
    recipe: FlowRecipe
    trainer: TrainerConfig
    source: FlowSource
    training: Dataset
    validation: Dataset
    seed: int

    @classmethod
    def of(cls, cfg: DictConfig) -> "TrainingPlan":
        source = flow_source(section(cfg, "flow_data"))
        plan = cls(
            typed(ModelConfig, section(cfg, "model"), "model"),
            typed(TransferConfig, section(cfg, "transfer"), "transfer"),
            typed(FlowRecipe, section(cfg, "training"), "training"),
            typed(TrainerConfig, section(cfg, "trainer"), "trainer"),
            source,
            source.training(),
            source.validation(),
            cfg.seed,
        )
        if not isinstance(plan.seed, int) or plan.seed < 0:
            raise InputError(f"seed is {plan.seed!r}; it must be a whole number, 0 or more")
        require_something_to_freeze(build_raft(**asdict(plan.model)), plan.transfer)
        if plan.transfer.load_feature_encoder:
            PretrainingPlan.of(cfg)
        return plan

    def values(self) -> dict[str, Any]:
        """Return what determines the result, apart from the pre-training."""
        parts = {name: asdict(getattr(self, name)) for name in ("model", "transfer", "recipe")}
        data = {"flow_data": self.source.identity()}
        return parts | data | {"seed": self.seed, "precision": self.trainer.precision}


def training(cfg: DictConfig) -> Artifact:
    """Train RAFT for optical flow; the artifact holds `model.pt`, `curve.csv` and `transfer.json`."""
    plan = TrainingPlan.of(cfg)
    transfer, recipe, seed = plan.transfer, plan.recipe, plan.seed
    parents = {"pretraining": pretraining(cfg)} if transfer.load_feature_encoder else {}

    def make(folder: Path) -> None:
        pl.seed_everything(seed, verbose=False)
        arguments = asdict(plan.model) | {"iterations": recipe.iterations}
        model = build_raft(**arguments)
        source, source_name = None, "the pre-training"
        if parents:
            source_name = str(parents["pretraining"].path / MODEL)
            source = load_next_frame(Path(source_name)).state_dict()
        report = apply_transfer(model, transfer, source, source_name)
        print(f"  transfer {transfer.name}: {report}", flush=True)
        (folder / TRANSFER).write_text(json.dumps(report.to_dict(), indent=2) + "\n")
        part = Part(plan.training, plan.source.augmentations())
        stream = SampleStream([part], seed, recipe.steps * recipe.batch_size)
        label = f"train {transfer.name} seed {seed}"
        module = OpticalFlowModule(model, recipe)
        callbacks = [KeepFrozen(model, report)]
        curve = fit(module, recipe, stream, plan.validation, plan.trainer, folder, label, METRICS, callbacks)
        curve.to_csv(folder / CURVE, index=False)
        save_model(folder / MODEL, "raft", arguments, model)

    label = f"training {transfer.name} seed {seed}"
    return build(outputs_folder(cfg), "training", label, plan.values(), make, parents)


@dataclass
class EvaluationPlan:
    """The checked configuration of an evaluation, with its data sets."""

    config: EvaluationConfig
    trainer: TrainerConfig
    datasets: dict[str, Dataset]

    @classmethod
    def of(cls, cfg: DictConfig) -> "EvaluationPlan":
        config = typed(EvaluationConfig, section(cfg, "evaluation"), "evaluation")
        return cls(config, typed(TrainerConfig, section(cfg, "trainer"), "trainer"), config.datasets())


def evaluation(cfg: DictConfig, trained: Artifact | None = None) -> Artifact:
    """Evaluate a trained RAFT; the artifact holds `errors.csv`.

    It is that of `trained`, or of the configuration's `checkpoint`, or else the run that the configuration describes.
    """
    plan = EvaluationPlan.of(cfg)  # before any training: a folder that is not there should not cost one
    values, parents = plan.config.identity(), {}
    if trained is None and cfg.get("checkpoint") is not None:
        checkpoint, label = Path(cfg.checkpoint), f"evaluate {cfg.checkpoint}"
        load_raft(checkpoint)  # a file that is no such model is refused before anything is made of it
        values["checkpoint"] = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    else:
        trained = trained or training(cfg)
        parents["training"] = trained
        checkpoint, label = trained.path / MODEL, f"evaluate {cfg.transfer.name} seed {cfg.seed}"

    def make(folder: Path) -> None:
        torch.set_num_threads(plan.trainer.threads)
        model, device = load_raft(checkpoint), plan.trainer.device()
        errors = evaluate(model, plan.datasets, plan.config.iterations, label, device)
        errors.to_csv(folder / ERRORS, index=False)

    return build(outputs_folder(cfg), "evaluation", label, values, make, parents)


def errors_by_pair(artifact: Artifact) -> pd.DataFrame:
    """Return the errors of an evaluation, one row for each pair."""
    return pd.read_csv(artifact.path / ERRORS, dtype={"pair": str})
