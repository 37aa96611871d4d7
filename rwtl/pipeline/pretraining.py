"""The pre-training stage: recordings or scenes to a model whose parts can be transferred."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from torch import nn

from rwtl import files
from rwtl.config import outputs_folder
from rwtl.learning import skill
from rwtl.learning.evaluation import front_errors, over_all
from rwtl.learning.fit import fit
from rwtl.learning.tasks.next_frame import NextFrameModule
from rwtl.learning.tasks.optical_flow import OpticalFlowModule
from rwtl.learning.tasks.self_supervised import SelfSupervisedModule
from rwtl.learning.transfer.callback import Transfer
from rwtl.models.checkpoints import save_model
from rwtl.pipeline.artifact import Artifact
from rwtl.pipeline.recording import recordings
from rwtl.pipeline.source_task import PretrainingPlan, SourceData, source_data
from rwtl.random import evenly
from rwtl.sampling import SampleStream
from rwtl.tracking.loggers import check_loggers, tracking
from rwtl.tracking.pictures import ClipPictures, FlowPictures, next_frames
from rwtl.tracking.tracker import Lineage

SHOWN_CLIPS = 4


def pretraining(cfg: DictConfig, name: str = "") -> Artifact:
    """Return the pre-training of a configuration; `steps` 0 leaves the model untrained, as a control.

    A `name` tells it from others in the log, and plays no part in its result.

    The artifact holds `model.pt`, `curve.csv`, `metrics.csv`, `verdict.txt`, `transfer.json`; for clips of waves
    `normalisation.json` (the range of calcium, nM); for flow of waves `fronts.csv`; for next-frame prediction
    `skill.csv`, `predictions.npz` and `predictions.png`. An interrupted one is gone on with, to the same bits.
    """
    plan = PretrainingPlan.of(cfg)
    check_loggers(cfg)
    sources = recordings(cfg) if plan.clips_kind == "waves" else []
    parents = {"recording": sources[0]} if len(sources) == 1 else {}
    parents = parents or {f"recording {number}": source for number, source in enumerate(sources, start=1)}
    label = f"pretraining {name}".strip()

    def make(folder: Path) -> None:
        data = source_data(plan, [source.path / files.RECORDING for source in sources])
        print(f"  {data.description}", flush=True)
        if data.calcium_range:
            files.write_json(folder / files.NORMALISATION, {"calcium_range_nM": list(data.calcium_range)})
        pl.seed_everything(plan.recipe.seed, verbose=False)
        model = plan.build(plan.trainer.correlation)
        transfer = Transfer(model, plan.initial, plan.source, plan.colour, plan.recipe.seed)
        if plan.source:
            print(f"  beginning with {plan.source.name}: {transfer.report}", flush=True)
        files.write_json(folder / files.TRANSFER, transfer.report.to_dict())
        module = _module(plan, model, data, transfer)
        stream = SampleStream([data.training], plan.recipe.seed, max(1, plan.recipe.steps * plan.recipe.batch_size))
        trainer = replace(plan.trainer, scenes_on_device=False)
        callbacks: list[pl.Callback] = [transfer]
        if plan.kind == "next_frame":
            callbacks.append(ClipPictures(folder / files.PICTURES))
        elif plan.kind == "wave_flow":
            callbacks.append(FlowPictures(folder / files.PICTURES, ["waves"]))
        with tracking(cfg, folder, label, lineage(parents)) as tracker:
            tracker.transfer(transfer.report)
            of_run = (trainer, folder, f"pretrain {name}".strip(), module.metrics, callbacks, tracker.loggers)
            curve = fit(module, plan.recipe, stream, [data.validation], *of_run)
            curve.to_csv(folder / files.CURVE, index=False)
            kind = "next_frame" if plan.kind == "next_frame" else "raft"
            save_model(folder / files.MODEL, kind, plan.arguments, model)
            tracker.model(folder / files.MODEL)
        if plan.kind == "next_frame":
            verdict = _next_frame_results(folder, plan, model, data)
        else:
            verdict = _flow_results(folder, plan, model, data, curve)
        (folder / files.VERDICT).write_text(verdict + "\n")
        (folder / files.CHECKPOINT).unlink(missing_ok=True)

    outputs = outputs_folder(cfg)
    return Artifact("pretraining", label, plan.values(), make, outputs, parents, resumable=True, config=cfg)


def _module(plan: PretrainingPlan, model: nn.Module, data: SourceData, transfer: Transfer) -> pl.LightningModule:
    """Return what trains the model."""
    if plan.kind == "next_frame":
        return NextFrameModule(model, plan.recipe, data.active_level, transfer)
    if plan.kind == "wave_flow":
        return OpticalFlowModule(model, plan.recipe, {"waves": data.validation}, transfer)
    return SelfSupervisedModule(model, plan.recipe, plan.colour, transfer)


def _next_frame_results(folder: Path, plan: PretrainingPlan, model: nn.Module, data: SourceData) -> str:
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


def _flow_results(folder: Path, plan: PretrainingPlan, model: nn.Module, data: SourceData, curve: pd.DataFrame) -> str:
    """Write the errors of every validation pair on wave fronts, where the flow is measured, and return the verdict."""
    last, text = curve.iloc[-1], ""
    if plan.kind == "self_supervised":
        better = "better than" if last.photometric_all < last.photometric_all_no_motion else "WORSE than"
        text = f"frame 2 carried back by the flow differs from frame 1 by {last.photometric_all:.4g} in the mean, "
        text += f"{better} no motion ({last.photometric_all_no_motion:.4g}); "
    errors = front_errors(model, data.fronts, plan.trainer.device(), plan.trainer.precision)
    errors.to_csv(folder / files.FRONTS, index=False)
    of_all = over_all(errors)
    better = "better than" if of_all.epe < of_all.no_motion else "WORSE than"
    return (
        f"{text}EPE on fronts {of_all.epe:.3g} px ({of_all.normal:.3g} px along their normal), {better} no motion "
        f"({of_all.no_motion:.3g} px)"
    )


def lineage(parents: Mapping[str, Artifact]) -> dict[str, Lineage]:
    """Return what loggers are told of the artifacts that one is made from, by role."""
    return {
        role: Lineage(
            parent.kind,
            parent.digest,
            parent.path / (files.RECORDING if parent.kind == "recording" else files.MODEL),
        )
        for role, parent in parents.items()
    }


def curve(artifact: Artifact) -> pd.DataFrame:
    """Return the validation curve of a pre-training or a training: `step` and one column for each metric."""
    return pd.read_csv(artifact.path / files.CURVE)


def skill_of(artifact: Artifact) -> pd.DataFrame | None:
    """Return the skill of a next-frame pre-training beside its baselines; None for other source tasks."""
    file = artifact.path / files.SKILL
    return pd.read_csv(file) if file.is_file() else None


def against_baselines(artifact: Artifact) -> str:
    """Say how a pre-trained model does beside the baselines of its source task, on the same validation samples."""
    return (artifact.path / files.VERDICT).read_text().strip()
