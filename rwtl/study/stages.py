"""The stages: each is a function from a configuration to an artifact, making what is missing upstream."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from torch.utils.data import Subset

from rwtl.data.clips import CropClip, WaveClips, rotate_and_flip
from rwtl.data.stream import Part, SampleStream
from rwtl.models.checkpoints import digest_of_weights, load_next_frame, load_raft, recognise, save_model
from rwtl.models.next_frame import build_next_frame
from rwtl.models.raft import ITERATIONS, build_raft
from rwtl.study.artifact import Artifact, build
from rwtl.study.evaluation import EstimationConfig, evaluate
from rwtl.study.plans import EstimationPlan, PretrainingPlan, TrainingPlan
from rwtl.study.recordings import RECORDING, outputs_folder, path_of, recording
from rwtl.study.submission import write_submission, writer_of
from rwtl.training import next_frame
from rwtl.training.acceleration import accelerate
from rwtl.training.fit import fit
from rwtl.training.flow_pictures import FlowPictures
from rwtl.training.next_frame import NextFrameModule
from rwtl.training.optical_flow import OpticalFlowModule
from rwtl.training.transfer import KeepFrozen, apply_transfer

MODEL = "model.pt"
CURVE = "curve.csv"
TRANSFER = "transfer.json"
PREDICTIONS = "predictions.npz"
ERRORS = "errors.csv"
PICTURES = "pictures"
SUBMISSION = "submission"


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


def evaluation(cfg: DictConfig, trained: Artifact | None = None) -> Artifact:
    """Evaluate a RAFT; the artifact holds `errors.csv`.

    It is that of `trained`, or of the configuration's `checkpoint`, or else the run that the configuration describes.
    """
    plan = EstimationPlan.of(cfg, "evaluation")  # before any training: a folder that is not there should not cost one
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
    plan = EstimationPlan.of(cfg, "submission")
    trainer = plan.trainer
    for name, dataset in plan.datasets.items():
        writer_of(name, dataset, Path(SUBMISSION))  # one that no benchmark takes is refused before any work
    values = plan.values() | _described(checkpoint, plan.config)

    def make(folder: Path) -> None:
        torch.set_num_threads(trainer.threads)
        model = load_raft(checkpoint, correlation=trainer.correlation)
        accelerate(model, trainer.compile, trainer.channels_last)
        write_submission(model, plan.datasets, plan.config, folder / SUBMISSION, trainer.device(), trainer.precision)

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
