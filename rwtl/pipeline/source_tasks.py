"""The source tasks by name, and the plan of a pre-training on one of them."""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig
from torch import nn

from rwtl import files
from rwtl.clips.config import ClipsConfig
from rwtl.clips.dataset import WaveClips
from rwtl.clips.front_flow import WaveFlow, WholePairs
from rwtl.clips.scenes import scene_clips
from rwtl.config import setting
from rwtl.errors import InputError
from rwtl.flow.catalogue import catalogue
from rwtl.learning import skill
from rwtl.learning.evaluation import front_errors, over_all
from rwtl.learning.recipe import Recipe, SourceRecipe, Task, TrainerConfig
from rwtl.learning.tasks.next_frame import NextFrameModule, PretrainingRecipe
from rwtl.learning.tasks.optical_flow import OpticalFlowModule, WaveFlowRecipe, wave_flow_data
from rwtl.learning.tasks.self_supervised import SelfSupervisedModule, SelfSupervisedRecipe
from rwtl.learning.transfer.config import PRETRAINING, TransferConfig
from rwtl.models.parts import ModelConfig
from rwtl.pipeline.recording import recording_configs
from rwtl.pipeline.source import load_source
from rwtl.pipeline.source_task import (
    CLIPS,
    Clips,
    PretrainingPlan,
    SourceData,
    SourceTask,
    described,
    of_kind,
    wave_clips_data,
)
from rwtl.plugins import load_plugins
from rwtl.random import evenly
from rwtl.registry import Registry
from rwtl.sampling import Part
from rwtl.sections import chosen, typed
from rwtl.tracking.pictures import ClipPictures, FlowPictures, next_frames

SHOWN_CLIPS = 4
BEHIND = 1.0  # s; a front, where flow that was learnt without its truth is compared with the measured one
TASKS: Registry[SourceTask] = Registry("source task")


def register_task(name: str, recipe: type[Recipe] = SourceRecipe) -> Callable[[type[Task]], type[Task]]:
    """Return a decorator that makes a class a source task, as `pretraining.kind` names it.

    The class is a `Task`, a LightningModule, and is made of (model, recipe, colour, transfer): RAFT with the configured
    encoder, the section `pretraining`, the colour of the clips (what `rwtl.clips.transforms.to_rgb` takes), and what
    the model began with, for Task's constructor. It learns from clips (b, n, c, h, w) in 0..1, waves or scenes, as the
    section `clips` says. What it pre-trains is made on demand, resumed, logged, and transferred like any other.

    Args:
        name: of letters, digits and '_'.
        recipe: class of the section `pretraining`; its keys have defaults, so that `{kind: name}` is a whole section.

    Raises:
        InputError: The name is that of another task, or the class is no Task.

    The text of the file, or the notebook's cell, is part of what determines results: where it changes, they are made
    anew. Processes that are started later import the files that `plugins` names, and know nothing of a notebook's cell.

    >>> import torch, torchmetrics
    >>> from rwtl.clips.transforms import to_rgb
    >>> @rwtl.register_task("brightness")
    ... class Brightness(rwtl.Task):
    ...     def __init__(self, model, recipe, colour, transfer):
    ...         super().__init__(model, recipe, transfer, ["error"])
    ...         self.colour, self.head = colour, torch.nn.Linear(model.feature_encoder.out_channels, 1)
    ...         self.validation_metrics = torch.nn.ModuleDict({"error": torchmetrics.MeanMetric()})
    ...     def loss(self, clips):
    ...         features = self.model.feature_encoder(2 * to_rgb(clips[:, 0], self.colour) - 1)
    ...         return (self.head(features.mean(dim=(2, 3))) - clips[:, 0].mean(dim=(2, 3))).square().mean()
    ...     def validation_step(self, clips, batch_idx):
    ...         self.validation_metrics["error"].update(self.loss(clips))
    """

    def task(module: type[Task]) -> SourceTask:
        if not (isinstance(module, type) and issubclass(module, Task)):
            raise InputError(
                f"the source task {name} is {module!r}; it must be a subclass of rwtl.learning.recipe.Task"
            )
        return SourceTask(lambda plan, model, data, transfer: module(model, plan.recipe, plan.colour, transfer), recipe)

    return TASKS.register(name, task)


def recipe_of(cfg: DictConfig) -> tuple[str, Recipe]:
    """Return the kind of the source task, and its checked recipe."""
    kind, values = chosen(TASKS, setting(cfg, "pretraining"), "pretraining")
    recipe = TASKS[kind].recipe
    return kind, typed(recipe, _without_left_overs(values, recipe), "pretraining")


def pretraining_plan(cfg: DictConfig) -> PretrainingPlan:
    """Return the checked plan of the pre-training of a configuration; what does not fit is an InputError."""
    load_plugins(cfg)
    kind, recipe = recipe_of(cfg)
    task = TASKS[kind]
    clips_kind, clips = of_kind(cfg, "clips", CLIPS)
    scenes = None
    if clips_kind == "waves":
        recording_configs(cfg)
    else:
        scenes = scene_clips(clips, catalogue(cfg, (clips.dataset, clips.validation_dataset)))
    initial = typed(TransferConfig, setting(cfg, "initial"), "initial")
    if initial.source == PRETRAINING:
        raise InputError("initial.source is what the pre-training begins with: give a checkpoint, or null")
    trainer = typed(TrainerConfig, setting(cfg, "trainer"), "trainer")
    trainer.require_shares(recipe.batch_size, "pretraining.batch_size")
    return PretrainingPlan(
        kind=kind,
        task=task,
        clips_kind=clips_kind,
        clips=task.clips(clips_kind, clips),
        scenes=scenes,
        model=typed(ModelConfig, setting(cfg, "model"), "model"),
        recipe=recipe,
        trainer=trainer,
        initial=initial,
        source=load_source(initial.source) if initial.source is not None else None,
        code=TASKS.code(kind),
    )


def _without_left_overs(values: dict[str, Any], recipe: type[Recipe]) -> dict[str, Any]:
    """Return a section without what `pretraining.kind=...` alone leaves of the preset next_frame: keys that the recipe
    does not have, at the values that they have there. One that somebody set stays, and is refused by name."""
    own = {field.name for field in fields(recipe)}
    theirs = {field.name: field.default for field in fields(PretrainingRecipe) if field.name not in own}
    return {key: value for key, value in values.items() if value != theirs.get(key, MISSING)}


def _for_next_frame(kind: str, clips: Clips) -> Clips:
    if clips.length < 3:
        raise InputError(f"clips.length is {clips.length}; predicting the next frame takes 3 or more")
    return clips


def _next_frame_results(
    folder: Path, plan: PretrainingPlan, model: nn.Module, data: SourceData, curve: pd.DataFrame
) -> str:
    """Write the table of skill and predicted frames, and return the verdict."""
    table = skill.skill_table(model, data.validation, plan.trainer.device(), plan.trainer.precision)
    table.to_csv(folder / files.SKILL, index=False)
    shown = evenly(len(data.validation), SHOWN_CLIPS)
    clips = torch.stack([data.validation[k] for k in shown])  # (clips, length, c, h, w)
    with torch.no_grad():
        predicted = model.eval().cpu()(clips[:, :-1])
    np.savez_compressed(folder / files.PREDICTIONS, clips=clips.numpy(), predicted=predicted.numpy())
    interval = None if plan.scenes else plan.clips.dt
    figure = next_frames(clips.numpy(), predicted.numpy(), interval)
    figure.savefig(folder / files.PREDICTIONS_FIGURE, dpi=110)
    return skill.verdict(table)


def _pairs_of_waves(kind: str) -> Callable[[str, Clips], ClipsConfig]:
    def pairs(clips_kind: str, clips: Clips) -> ClipsConfig:
        if clips_kind != "waves":
            raise InputError(f"pretraining.kind is {kind}, which learns from waves; use clips=triplets")
        return replace(clips, length=2)

    return pairs


def _front_data(plan: PretrainingPlan, recordings: Sequence[Path]) -> SourceData:
    training, augmentations, fronts, span = wave_flow_data(recordings, plan.clips, plan.recipe)
    text = described(plan, len(training), f"{training.left_out} without a front left out", len(fronts), span)
    return SourceData(Part(training, augmentations), fronts, fronts, span, None, text)


def _pair_data(plan: PretrainingPlan, recordings: Sequence[Path]) -> SourceData:
    data = wave_clips_data(plan, recordings, plan.recipe.validation_pairs)
    clips = WaveClips(recordings, plan.clips, "validation", calcium_range=list(data.calcium_range))
    fronts = WaveFlow(clips, plan.clips.colour, BEHIND, 0.0)
    return replace(data, fronts=WholePairs(fronts, plan.clips.zoom, plan.recipe.validation_pairs))


def _front_results(folder: Path, plan: PretrainingPlan, model: nn.Module, data: SourceData, curve: pd.DataFrame) -> str:
    """Write the errors of every validation pair on wave fronts, where the flow is measured, and return the verdict."""
    errors = front_errors(model, data.fronts, plan.trainer.device(), plan.trainer.precision)
    errors.to_csv(folder / files.FRONTS, index=False)
    of_all = over_all(errors)
    better = "better than" if of_all.epe < of_all.no_motion else "WORSE than"
    return (
        f"EPE on fronts {of_all.epe:.3g} px ({of_all.normal:.3g} px along their normal), {better} no motion "
        f"({of_all.no_motion:.3g} px)"
    )


def _self_supervised_results(
    folder: Path, plan: PretrainingPlan, model: nn.Module, data: SourceData, curve: pd.DataFrame
) -> str:
    last = curve.iloc[-1]
    better = "better than" if last.photometric_all < last.photometric_all_no_motion else "WORSE than"
    return (
        f"frame 2 carried back by the flow differs from frame 1 by {last.photometric_all:.4g} in the mean, "
        f"{better} no motion ({last.photometric_all_no_motion:.4g}); "
        f"{_front_results(folder, plan, model, data, curve)}"
    )


def _next_frame(module: type[NextFrameModule]) -> SourceTask:
    return SourceTask(
        module=lambda plan, model, data, transfer: module(model, plan.recipe, data.active_level, transfer),
        recipe=PretrainingRecipe,
        clips=_for_next_frame,
        model="next_frame",
        arguments=lambda plan: {"colour": plan.colour, "decoder": plan.recipe.decoder, "context": plan.recipe.context},
        pictures=lambda folder: [ClipPictures(folder)],
        results=_next_frame_results,
    )


def _wave_flow(module: type[OpticalFlowModule]) -> SourceTask:
    return SourceTask(
        module=lambda plan, model, data, transfer: module(model, plan.recipe, {"waves": data.validation}, transfer),
        recipe=WaveFlowRecipe,
        clips=_pairs_of_waves("wave_flow"),
        data=_front_data,
        pictures=lambda folder: [FlowPictures(folder, ["waves"])],
        results=_front_results,
    )


def _self_supervised(module: type[SelfSupervisedModule]) -> SourceTask:
    return SourceTask(
        module=lambda plan, model, data, transfer: module(model, plan.recipe, plan.colour, transfer),
        recipe=SelfSupervisedRecipe,
        clips=_pairs_of_waves("self_supervised"),
        data=_pair_data,
        results=_self_supervised_results,
    )


TASKS.register("next_frame", _next_frame)(NextFrameModule)
TASKS.register("wave_flow", _wave_flow)(OpticalFlowModule)
TASKS.register("self_supervised", _self_supervised)(SelfSupervisedModule)
