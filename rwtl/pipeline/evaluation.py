"""Evaluation on pairs with known flow, and submission to a benchmark: from a trained RAFT to errors, or to files."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float32
from numpy import ndarray
from omegaconf import DictConfig

from rwtl import files
from rwtl.config import outputs_folder, path_of, setting
from rwtl.errors import InputError
from rwtl.flow.catalogue import catalogue, of_catalogue, open_with_flow
from rwtl.flow.layouts import KITTI, Sintel
from rwtl.flow.sample import FlowDataset
from rwtl.flow.submission import KITTI_LIMITS, beyond, write_kitti, write_sintel
from rwtl.learning.evaluation import EstimationConfig, estimates, evaluate, pooled, print_evaluation, shortened
from rwtl.learning.recipe import TrainerConfig
from rwtl.models.checkpoints import digest_of_weights, load_raft, recognise
from rwtl.models.parts import VARIANTS
from rwtl.models.raft import ITERATIONS, RAFT
from rwtl.pipeline.artifact import Artifact
from rwtl.pipeline.flow_training import training
from rwtl.plugins import load_plugins
from rwtl.progress import Progress, say
from rwtl.sections import typed

Write = Callable[[int, Float32[ndarray, "2 h w"]], Path]


def writer_of(name: str, dataset: FlowDataset, folder: Path) -> Write:
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
    datasets: dict[str, FlowDataset],
    config: EstimationConfig,
    folder: Path,
    device: torch.device,
    precision: str,
) -> int:
    """Write the flow of every pair below `folder` and return how many there are; say what KITTI's format cuts off."""
    writers = {name: writer_of(name, dataset, folder) for name, dataset in datasets.items()}
    progress = Progress("submission", sum(len(dataset) for dataset in datasets.values()), "pairs")
    written, cut = 0, Counter()
    for name, dataset in datasets.items():
        how = (config.iterations, config.warm_start, device, precision, config.tile)
        for index, _, estimate in estimates(model, dataset, *how):
            flow = estimate[0].float().cpu().numpy()
            writers[name](index, flow)
            if isinstance(dataset, KITTI) and (outside := beyond(flow, KITTI_LIMITS)):
                cut[f"{name} {dataset.names[index]}"] = outside
            written += 1
            progress(written)
    if cut:
        least, most = KITTI_LIMITS
        say(
            f"note: {cut.total()} displacements of {len(cut)} pairs lie outside of {least:g} to {most:.2f} px, which "
            f"is what KITTI's format holds, and were cut to that: {shortened(list(cut))}"
        )
    return written


@dataclass
class EstimationPlan:
    """The checked configuration of an evaluation or a submission, with its data sets."""

    config: EstimationConfig
    trainer: TrainerConfig
    datasets: dict[str, FlowDataset]

    @classmethod
    def of(cls, cfg: DictConfig, section: str) -> "EstimationPlan":
        """Return the plan of the section `evaluation`, whose data sets must have flow, or `submission`."""
        load_plugins(cfg)
        config = typed(EstimationConfig, setting(cfg, section), section)
        trainer = typed(TrainerConfig, setting(cfg, "trainer"), "trainer")
        entries = catalogue(cfg, config.datasets)
        opened = open_with_flow if section == "evaluation" else of_catalogue
        plan = cls(config, trainer, {name: opened(name, entries) for name in config.datasets})
        if config.warm_start and all(dataset.sequences is None for dataset in plan.datasets.values()):
            raise InputError(
                f"{section}.warm_start goes on within sequences, of which there are none in "
                f"{', '.join(plan.datasets)}: set it to false"
            )
        return plan

    def values(self) -> dict[str, Any]:
        """Return what determines the result, apart from the model."""
        datasets = {name: data.identity() for name, data in self.datasets.items()}
        return self.config.identity() | {"datasets": datasets, "precision": self.trainer.precision}


class EvaluationArtifact(Artifact):
    """An evaluation, planned or made."""

    @property
    def errors(self) -> pd.DataFrame:
        """The errors, one row for each pair, as `evaluate` returns them."""
        return files.read_table(self.file(files.ERRORS), "dataset", "pair", "epe")

    @property
    def headline(self) -> str:
        """The EPE on each data set."""
        return "EPE " + ", ".join(f"{line.epe:.3f} px on {line.dataset}" for line in pooled(self.errors).itertuples())

    @property
    def objective(self) -> float:
        """The mean of the data sets' EPE, px; no number where one of them is none."""
        return float(pooled(self.errors).epe.mean(skipna=False))

    def show(self) -> None:
        """Print the errors of every data set, and where the table is."""
        print_evaluation(self.errors)
        print(f"table: {self.path / files.ERRORS}")


class SubmissionArtifact(Artifact):
    """A submission, planned or made."""

    def show(self) -> None:
        """Print where the files for the benchmark are."""
        print(f"submission: {self.path / files.SUBMISSION}")


def evaluation(cfg: DictConfig) -> EvaluationArtifact:
    """Return the evaluation of the configuration's `checkpoint`, or else of the training that it describes: a plan.

    The artifact holds `errors.csv`.

    >>> evaluate = rwtl.compose("evaluate", "transfer=freeze_encoder", "debug=tiny")
    >>> evaluated = rwtl.build(rwtl.evaluation(evaluate))
    >>> evaluated.errors.dataset.unique().tolist(), len(evaluated.errors)
    (['procedural_test'], 4)
    """
    plan = EstimationPlan.of(cfg, "evaluation")
    values, parents = plan.values(), {}
    if cfg.get("checkpoint") is not None:
        checkpoint, label = path_of(cfg, "checkpoint"), f"evaluate {cfg.checkpoint}"
        values |= _described(checkpoint, plan.config)
    else:
        trained = parents["training"] = training(cfg)
        checkpoint, label = trained.path / files.MODEL, f"evaluate {cfg.transfer.name} seed {cfg.seed}"

    def make(folder: Path) -> None:
        torch.set_num_threads(plan.trainer.threads)
        model, device = load_raft(checkpoint, correlation=plan.trainer.correlation), plan.trainer.device()
        plan.trainer.lay_out(model)
        how = (plan.config.iterations, plan.config.warm_start, label, device, plan.trainer.precision)
        errors = evaluate(model, plan.datasets, *how, plan.config.tile)
        errors.to_csv(folder / files.ERRORS, index=False)

    return EvaluationArtifact("evaluation", label, values, make, outputs_folder(cfg), parents, config=cfg)


def submission(cfg: DictConfig) -> SubmissionArtifact:
    """Return a checkpoint's flow of a benchmark's test split; the artifact holds the folder `submission`."""
    checkpoint = path_of(cfg, "checkpoint")
    plan = EstimationPlan.of(cfg, "submission")
    trainer = plan.trainer
    for name, dataset in plan.datasets.items():
        writer_of(name, dataset, Path(files.SUBMISSION))  # one that no benchmark takes is refused before any work
    values = plan.values() | _described(checkpoint, plan.config)

    def make(folder: Path) -> None:
        torch.set_num_threads(trainer.threads)
        model = load_raft(checkpoint, correlation=trainer.correlation)
        trainer.lay_out(model)
        write_submission(
            model, plan.datasets, plan.config, folder / files.SUBMISSION, trainer.device(), trainer.precision
        )

    label = f"submission of {checkpoint}"
    return SubmissionArtifact("submission", label, values, make, outputs_folder(cfg), config=cfg)


def _described(checkpoint: Path, config: EstimationConfig) -> dict[str, Any]:
    """Say what a checkpoint holds, and return what an estimate by it depends on: not whose format it has."""
    info = recognise(checkpoint)
    say(f"{checkpoint} holds {info}")
    iterations = config.iterations or info.arguments.get("iterations", ITERATIONS)
    weights = digest_of_weights(info.weights)
    model = [info.variant, info.feature_norm, *VARIANTS.code(info.variant).values()]
    return {"model": model, "weights": weights, "iterations": iterations}
