"""The pre-training stage: recordings or scenes to a model whose parts can be transferred."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytorch_lightning as pl
from omegaconf import DictConfig
from torch import nn

from rwtl import files
from rwtl.config import outputs_folder
from rwtl.errors import InputError
from rwtl.learning.fit import fit
from rwtl.learning.skill import ratio_to_best
from rwtl.learning.transfer.callback import Transfer
from rwtl.learning.transfer.config import PRETRAINING
from rwtl.models.checkpoints import load_model, save_model
from rwtl.pipeline.artifact import Artifact
from rwtl.pipeline.recording import recordings
from rwtl.pipeline.source_tasks import pretraining_plan
from rwtl.progress import say
from rwtl.sampling import SampleStream
from rwtl.terminal import show_frame
from rwtl.tracking.loggers import check_loggers, tracking
from rwtl.tracking.tracker import Lineage


class TrainedArtifact(Artifact):
    """What a training makes, planned or made."""

    @property
    def curve(self) -> pd.DataFrame:
        """The validations: `step` and one column for each metric."""
        return files.read_table(self.file(files.CURVE), "step")

    def load_model(self) -> nn.Module:
        """Return the trained model, ready to evaluate on the CPU."""
        return load_model(self.file(files.MODEL))

    @property
    def headline(self) -> str:
        """The error of the last validation."""
        last = self.curve.iloc[-1]
        return f"validation EPE after {last.step:.0f} steps: {last.epe:.3f} px"

    @property
    def objective(self) -> float:
        """The EPE of the last validation, px."""
        return float(self.curve.epe.iloc[-1])

    def show(self) -> None:
        """Print the headline, and where model and curve are."""
        print(f"{self.headline}\nmodel: {self.path / files.MODEL}\ncurve: {self.path / files.CURVE}")


class PretrainingArtifact(TrainedArtifact):
    """A pre-training, planned or made."""

    @property
    def verdict(self) -> str:
        """How the model does beside the baselines of its source task, on the same validation samples, in words."""
        return files.text_of(self.file(files.VERDICT)).strip()

    @property
    def skill(self) -> pd.DataFrame | None:
        """The skill of next-frame prediction beside its baselines; None for other source tasks."""
        file = self.file(files.SKILL)
        return files.read_table(file) if file.is_file() else None

    @property
    def headline(self) -> str:
        """The verdict."""
        return self.verdict

    @property
    def objective(self) -> float:
        """The error of next-frame prediction in units of the best baseline's on the same clips, where there is such a
        skill; of a source task that trains on flow the EPE of the last validation, px."""
        skill = self.skill
        if skill is not None:
            return ratio_to_best(skill)
        if "epe" not in self.curve:
            raise InputError(
                f"{self.label} validates {', '.join(self.curve.columns[1:])}: no search knows what to minimise of it; "
                "let the source task validate `epe`, or search with train"
            )
        return super().objective

    def show(self) -> None:
        """Print the skill, the verdict, and where model and curve are."""
        if self.skill is not None:
            show_frame(self.skill, ".4g", where=files.SKILL)
        super().show()


def pretraining(cfg: DictConfig) -> PretrainingArtifact:
    """Return the pre-training of a configuration: a plan. `steps` 0 leaves the model untrained, as a control.

    The log calls it by the name of the transfer that loads it, if any, which plays no part in its result.

    The artifact holds `model.pt`, `curve.csv`, `metrics.csv`, `verdict.txt`, `transfer.json`; for clips of waves
    `normalisation.json` (the range of calcium, nM); for flow of waves `fronts.csv`; for next-frame prediction
    `skill.csv`, `predictions.npz` and `predictions.png`. An interrupted one is gone on with, to the same bits.

    >>> source = rwtl.build(rwtl.pretraining(cfg))
    >>> print(source.verdict)
    validation MSE of the next-frame model ...
    """
    plan = pretraining_plan(cfg)
    check_loggers(cfg)
    sources = recordings(cfg) if plan.clips_kind == "waves" else []
    parents = {"recording": sources[0]} if len(sources) == 1 else {}
    parents = parents or {f"recording {number}": source for number, source in enumerate(sources, start=1)}
    transfer = cfg.get("transfer") or {}
    name = transfer["name"] if transfer.get("source") == PRETRAINING else ""
    label = f"pretraining {name}".strip()

    def make(folder: Path) -> None:
        data = plan.task.data(plan, [source.path / files.RECORDING for source in sources])
        say(f"  {data.description}")
        if data.calcium_range:
            files.write_json(folder / files.NORMALISATION, {"calcium_range_nM": list(data.calcium_range)})
        pl.seed_everything(plan.recipe.seed, verbose=False)
        model = plan.build(plan.trainer.correlation)
        transfer = Transfer(model, plan.initial, plan.source, plan.colour, plan.recipe.seed)
        if plan.source:
            say(f"  beginning with {plan.source.name}: {transfer.report}")
        files.write_json(folder / files.TRANSFER, transfer.report.to_dict())
        module = plan.task.module(plan, model, data, transfer)
        stream = SampleStream([data.training], plan.recipe.seed, max(1, plan.recipe.steps * plan.recipe.batch_size))
        trainer = replace(plan.trainer, scenes_on_device=False)
        callbacks = [transfer, *plan.task.pictures(folder / files.PICTURES)]
        with tracking(cfg, artifact.kind, artifact.digest, label, lineage(parents)) as tracker:
            tracker.transfer(transfer.report)
            of_run = (trainer, folder, f"pretrain {name}".strip(), module.metrics, callbacks, tracker.loggers)
            curve = fit(module, plan.recipe, stream, [data.validation], *of_run)
            curve.to_csv(folder / files.CURVE, index=False)
            save_model(folder / files.MODEL, plan.task.model, plan.arguments, model)
            tracker.model(folder / files.MODEL)
        verdict = plan.task.results(folder, plan, model, data, curve)
        (folder / files.VERDICT).write_text(f"{verdict}\n", encoding="utf-8")

    whole = (outputs_folder(cfg), parents)
    artifact = PretrainingArtifact("pretraining", label, plan.values(), make, *whole, resumable=True, config=cfg)
    return artifact


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
