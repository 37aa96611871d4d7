"""Estimated flow of a benchmark's test split, in the files that its server accepts."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from textwrap import indent
from typing import Any

import pandas as pd
import pytorch_lightning as pl
import torch
from jaxtyping import Float32
from numpy import ndarray
from omegaconf import DictConfig
from torch.utils.data import Dataset

from rwtl.config import outputs_folder, path_of
from rwtl.errors import InputError
from rwtl.flow.layouts import KITTI, Sintel
from rwtl.flow.submission import write_kitti, write_sintel
from rwtl.models.checkpoints import digest_of_weights, load_raft, recognise, save_model
from rwtl.models.raft import ITERATIONS, RAFT, build_raft
from rwtl.pipeline.artifact import Artifact, build
from rwtl.pipeline.plans import EstimationPlan, TrainingPlan
from rwtl.pipeline.pretraining import CURVE, MODEL, TRANSFER, pretraining
from rwtl.progress import Progress
from rwtl.sampling import SampleStream
from rwtl.tracking.loggers import check_loggers, tracking
from rwtl.tracking.pictures import FlowPictures
from rwtl.training.evaluation import EstimationConfig, estimates, evaluate
from rwtl.training.fit import CHECKPOINT, fit
from rwtl.training.recipe import accelerate
from rwtl.training.tasks.optical_flow import OpticalFlowModule
from rwtl.training.transfer.callback import Transfer
from rwtl.training.transfer.config import PRETRAINING
from rwtl.training.transfer.source import load_source

Write = Callable[[int, Float32[ndarray, "2 h w"]], Path]


def writer_of(name: str, dataset: Dataset, folder: Path) -> Write:
    """Return what writes the flow of a pair, by its number; InputError where no benchmark takes such files."""
    match dataset:
        case Sintel():
            return lambda index, flow: write_sintel(
                folder, dataset.render, dataset.sequences[index], int(dataset.names[index][-4:]), flow
            )
        case KITTI():
            return lambda index, flow: write_kitti(folder, dataset.names[index], flow)
    raise InputError(f"there is no submission format for {name}; name data sets of MPI-Sintel or KITTI")


def write_submission(
    model: RAFT,
    datasets: dict[str, Dataset],
    config: EstimationConfig,
    folder: Path,
    device: torch.device,
    precision: str,
) -> int:
    """Write the flow of every pair below `folder` and return how many there are."""
    writers = {name: writer_of(name, dataset, folder) for name, dataset in datasets.items()}
    model.eval().to(device)
    progress = Progress("submission", sum(len(dataset) for dataset in datasets.values()), "pairs")
    written = 0
    for name, dataset in datasets.items():
        for index, _, estimate in estimates(model, dataset, config.iterations, config.warm_start, device, precision):
            writers[name](index, estimate.flow[0].float().cpu().numpy())
            written += 1
            progress(written)
    return written


ERRORS = "errors.csv"
PICTURES = "pictures"
SUBMISSION = "submission"
SUBSET = "subset.json"


def training(cfg: DictConfig) -> Artifact:
    """Train RAFT for optical flow, going on with what an interrupted job left, to the same bits.

    The artifact holds `model.pt`, `curve.csv`, `metrics.csv`, `transfer.json`, `subset.json` (the samples that training
    draws from) and `pictures`.
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
            print(f"  starting from {cfg.start_from}: {plan.start_from}", flush=True)
        source = load_source(parents["pretraining"].path) if parents else plan.source
        transfer = Transfer(model, config, source, plan.colour, seed)
        print(f"  transfer {config.name}: {transfer.report}; all names are in {folder / TRANSFER}", flush=True)
        if config.load:
            print(indent(transfer.report.table(), "    "), flush=True)
        (folder / TRANSFER).write_text(json.dumps(transfer.report.to_dict(), indent=2) + "\n")
        (folder / SUBSET).write_text(json.dumps(plan.data.drawn(), indent=2) + "\n")
        stream = SampleStream(list(plan.data.parts.values()), seed, recipe.steps * recipe.batch_size)
        module = OpticalFlowModule(model, recipe, plan.data.validation, transfer)
        callbacks = [transfer, FlowPictures(folder / PICTURES, list(plan.data.validation))]
        validation = list(plan.data.validation.values())
        with tracking(cfg, folder, label, parents) as tracker:
            tracker.transfer(transfer.report)
            of_run = (trainer, folder, f"train {config.name} seed {seed}", module.metrics, callbacks, tracker.loggers)
            curve = fit(module, recipe, stream, validation, *of_run)
            curve.to_csv(folder / CURVE, index=False)
            save_model(folder / MODEL, "raft", arguments, model)
            tracker.model(folder / MODEL)
        (folder / CHECKPOINT).unlink(missing_ok=True)

    label = f"training {config.name} seed {seed}"
    return build(outputs_folder(cfg), "training", label, plan.values(), make, parents, resumable=True, config=cfg)


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

    return build(outputs_folder(cfg), "evaluation", label, values, make, parents, config=cfg)


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

    return build(outputs_folder(cfg), "submission", f"submission of {checkpoint}", values, make, config=cfg)


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
