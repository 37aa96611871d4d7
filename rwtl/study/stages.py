"""The stages: each is a function from a configuration to an artifact, making what is missing upstream."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch.utils.data import Subset

from rwtl.config import typed
from rwtl.data.clips import ClipsConfig, CropClip, WaveClips, rotate_and_flip
from rwtl.data.flow_sources import flow_source
from rwtl.data.stream import SampleStream
from rwtl.errors import InputError
from rwtl.models.checkpoints import load_next_frame, load_raft, save_model
from rwtl.models.encoder import ModelConfig
from rwtl.models.next_frame import build_next_frame
from rwtl.models.raft import build_raft
from rwtl.progress import Progress
from rwtl.study.artifact import Artifact, build
from rwtl.study.evaluation import EvaluationConfig, evaluate
from rwtl.training import next_frame
from rwtl.training.fit import TrainerConfig, fit
from rwtl.training.metrics import METRICS
from rwtl.training.next_frame import NextFrameModule, PretrainingRecipe
from rwtl.training.optical_flow import FlowRecipe, OpticalFlowModule
from rwtl.training.transfer import KeepFrozen, TransferConfig, apply_transfer, require_something_to_freeze
from rwtl.waves import RecordingConfig, open_recording, simulate
from rwtl.waves.pictures import draw_mosaic, write_movie

RECORDING = "recording"
MOSAIC = "mosaic.png"
MOVIE = "movie.gif"
MODEL = "model.pt"
CURVE = "curve.csv"
TRANSFER = "transfer.json"
PREDICTIONS = "predictions.npz"
ERRORS = "errors.csv"


def section(cfg: DictConfig, name: str) -> dict[str, Any]:
    """Return a section of the configuration as plain values; a value that is not set is named."""
    try:
        return OmegaConf.to_container(cfg[name], resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key = error.full_key or name
        raise InputError(f"{key} is not set; give it on the command line as {key}=...") from error


def outputs_folder(cfg: DictConfig) -> Path:
    return Path(section(cfg, "paths")["outputs"])


def recording(cfg: DictConfig) -> Artifact:
    """Simulate the waves; the artifact holds `recording` (Zarr), `mosaic.png` and `movie.gif`."""
    values = section(cfg, "recording")
    config = typed(RecordingConfig, values, "recording")

    def make(folder: Path) -> None:
        from rwtl.waves.cpp_engine import CppEngine  # loads Brian2, which takes seconds: only where it is needed

        engine = typed(CppEngine, section(cfg, "engine"), "engine")
        progress = Progress("simulate", config.duration, "s of model time")
        simulate(config, engine, folder / RECORDING, progress)
        made = open_recording(folder / RECORDING)
        draw_mosaic(made, folder / MOSAIC)
        write_movie(made, folder / MOVIE)

    return build(outputs_folder(cfg), "recording", "recording", values, make)


def pretraining(cfg: DictConfig) -> Artifact:
    """Train the next-frame model; the artifact holds `model.pt`, `curve.csv` and `predictions.npz`."""
    values = {name: section(cfg, name) for name in ("clips", "model", "pretraining")}
    clips = typed(ClipsConfig, values["clips"], "clips")
    recipe = typed(PretrainingRecipe, values["pretraining"], "pretraining")
    trainer = typed(TrainerConfig, section(cfg, "trainer"), "trainer")
    model_config = typed(ModelConfig, values["model"], "model")
    if clips.length != 3:
        raise InputError(f"clips.length is {clips.length}; the next-frame model takes triplets, length 3")
    source = recording(cfg)

    def make(folder: Path) -> None:
        train = WaveClips(source.path / RECORDING, clips, "training")
        validation = _evenly(WaveClips(source.path / RECORDING, clips, "validation"), recipe.validation_clips)
        print(f"  {len(train)} training clips, {len(validation)} validation clips, dt {clips.dt:g} s", flush=True)
        pl.seed_everything(recipe.seed, verbose=False)
        arguments = asdict(model_config) | {"iterations": recipe.iterations}
        model = build_next_frame(**arguments)
        augmentations = [CropClip(clips.crop), *([rotate_and_flip] if clips.rotations_and_flips else [])]
        stream = SampleStream(train, augmentations, recipe.seed, recipe.steps * recipe.batch_size)
        module = NextFrameModule(model, recipe)
        curve = fit(module, recipe, stream, validation, trainer, folder, "pretrain", next_frame.METRICS, callbacks=[])
        curve.to_csv(folder / CURVE, index=False)
        save_model(folder / MODEL, "next_frame", arguments, model)
        _save_predictions(folder / PREDICTIONS, model, _evenly(validation, 4))

    return build(outputs_folder(cfg), "pretraining", "pretraining", values, make, {"recording": source})


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
    """Train RAFT for optical flow; the artifact holds `model.pt`, `curve.csv` and `transfer.json`."""
    values = {name: section(cfg, name) for name in ("model", "transfer", "flow_data", "training")}
    values["seed"] = seed = cfg.seed
    transfer = typed(TransferConfig, values["transfer"], "transfer")
    recipe = typed(FlowRecipe, values["training"], "training")
    trainer = typed(TrainerConfig, section(cfg, "trainer"), "trainer")
    model_config = typed(ModelConfig, values["model"], "model")
    data = flow_source(values["flow_data"])
    # Before anything upstream is built: a folder that is not there should not cost a pre-training.
    train, validation = data.training(), data.validation()
    values["flow_data"] = data.identity()
    require_something_to_freeze(build_raft(**asdict(model_config)), transfer)
    parents = {"pretraining": pretraining(cfg)} if transfer.load_feature_encoder else {}

    def make(folder: Path) -> None:
        pl.seed_everything(seed, verbose=False)
        model = build_raft(**asdict(model_config))
        source = source_name = None
        if parents:
            source_name = str(parents["pretraining"].path / MODEL)
            source = load_next_frame(Path(source_name)).state_dict()
        report = apply_transfer(model, transfer, source, source_name)
        print(f"  transfer {transfer.name}: {report}", flush=True)
        (folder / TRANSFER).write_text(json.dumps(report.to_dict(), indent=2) + "\n")
        stream = SampleStream(train, data.augmentations(), seed, recipe.steps * recipe.batch_size)
        label = f"train {transfer.name} seed {seed}"
        module = OpticalFlowModule(model, recipe)
        callbacks = [KeepFrozen(model, report)]
        curve = fit(module, recipe, stream, validation, trainer, folder, label, METRICS, callbacks)
        curve.to_csv(folder / CURVE, index=False)
        save_model(folder / MODEL, "raft", asdict(model_config), model)

    label = f"training {transfer.name} seed {seed}"
    return build(outputs_folder(cfg), "training", label, values, make, parents)


def evaluation(cfg: DictConfig, trained: Artifact | None = None) -> Artifact:
    """Evaluate a trained RAFT; the artifact holds `errors.csv`.

    It is that of `trained`, or of the configuration's `checkpoint`, or else the run that the configuration describes.
    """
    config = typed(EvaluationConfig, section(cfg, "evaluation"), "evaluation")
    datasets = config.datasets()  # before any training: a folder that is not there should not cost one
    values, parents = config.identity(), {}
    if trained is None and cfg.get("checkpoint") is not None:
        checkpoint, label = Path(cfg.checkpoint), f"evaluate {cfg.checkpoint}"
        load_raft(checkpoint)  # a file that is no such model is refused before anything is made of it
        values["checkpoint"] = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    else:
        trained = trained or training(cfg)
        parents["training"] = trained
        checkpoint, label = trained.path / MODEL, f"evaluate {cfg.transfer.name} seed {cfg.seed}"

    def make(folder: Path) -> None:
        torch.set_num_threads(section(cfg, "trainer")["threads"])
        errors = evaluate(load_raft(checkpoint), datasets, config.iterations, label)
        errors.to_csv(folder / ERRORS, index=False)

    return build(outputs_folder(cfg), "evaluation", label, values, make, parents)


def errors_by_pair(artifact: Artifact) -> pd.DataFrame:
    """Return the errors of an evaluation, one row for each pair."""
    return pd.read_csv(artifact.path / ERRORS, dtype={"pair": str})
