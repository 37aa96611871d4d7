"""From a configuration to the flow of a person's own frames."""

import re
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from rwtl.config import outputs_folder, path_of, setting
from rwtl.errors import InputError
from rwtl.learning.recipe import TrainerConfig
from rwtl.models.checkpoints import digest_of_weights, load_raft, recognise
from rwtl.models.export import export_raft, smallest_side
from rwtl.pipeline.status import DIGEST
from rwtl.plugins import load_plugins
from rwtl.predicting.frames import open_frames
from rwtl.predicting.prediction import Estimator, PredictConfig, predict
from rwtl.progress import say
from rwtl.sections import Count, checked, typed


def run(cfg: DictConfig) -> None:
    """Estimate and write what a configuration asks for, and say where it is.

    Raises InputError for whatever a user can mend; what is written stays whole.
    """
    load_plugins(cfg)
    config = typed(PredictConfig, setting(cfg, "predict"), "predict")
    trainer = typed(TrainerConfig, setting(cfg, "trainer"), "trainer")
    torch.set_num_threads(trainer.threads)
    checkpoint = checkpoint_of(cfg)
    frames = open_frames(_images(cfg))
    info = recognise(checkpoint)
    device = trainer.device()
    model = load_raft(checkpoint, correlation=trainer.correlation).to(device)
    trainer.lay_out(model)
    given = setting(cfg, "output")
    folder = Path(given) if given is not None else outputs_folder(cfg) / "predictions" / frames.name
    say(f"{frames.count} frames of {frames.name}, by {checkpoint}: {info}")
    about = {"checkpoint": str(info), "weights": digest_of_weights(info.weights), "precision": trainer.precision}
    try:
        done = predict(frames, Estimator(model, config, device, trainer.precision), folder, about, cfg.overwrite)
    except OSError as error:
        where = error.filename2 or error.filename or folder
        raise InputError(
            f"cannot write {where} ({error.strerror}); what is written is whole, and the same line goes on from it"
        ) from error
    reused = done["pairs"] - done["made"]
    print(f"{done['pairs']} pairs" + (f", {reused} of them there already" if reused else ""))
    for kind in config.write:
        file = folder / ("film.mp4" if kind == "film" else kind)
        print(f"{kind + ':':9} {file}")


def export(cfg: DictConfig) -> None:
    """Write the model that a configuration names for other programs, and say what it takes."""
    load_plugins(cfg)
    trainer = typed(TrainerConfig, setting(cfg, "trainer"), "trainer")
    iterations = checked(Count | None, setting(cfg, "iterations"), "iterations")
    file = path_of(cfg, "file")
    model = load_raft(checkpoint_of(cfg), correlation=trainer.correlation)
    export_raft(model, file, iterations)
    least = smallest_side(model)
    print(f"{file}: image1 and image2 (1, 3, height, width), RGB, 0 to 255, to flow (1, 2, height, width) in px")
    print(f"height and width: multiples of 8, from {least} px on; iterations: {iterations or model.iterations}")


def checkpoint_of(cfg: DictConfig) -> Path:
    """Return what `checkpoint` names: a file, the folder of a training, or by its digest such a folder."""
    path = path_of(cfg, "checkpoint")
    if not path.exists() and re.fullmatch(DIGEST, str(path)):
        return outputs_folder(cfg) / "training" / path
    return path


def _images(cfg: DictConfig) -> Any:
    images = setting(cfg, "images")
    if isinstance(images, list) and not all(isinstance(each, str) for each in images):
        raise InputError(f"images is {images}; give texts")
    return images
