"""The comparison of conditions over seeds: one recipe, one order of data, rows that differ in the transfer alone."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from rwtl.config import typed
from rwtl.errors import InputError
from rwtl.study import recordings, stages
from rwtl.study.artifact import Artifact, build
from rwtl.study.evaluation import pooled
from rwtl.study.plans import EstimationPlan, TrainingPlan
from rwtl.study.pool import run_side_by_side
from rwtl.study.report import write_report
from rwtl.study.runs import Run
from rwtl.study.tables import print_comparison
from rwtl.training.metrics import METRICS


@dataclass
class ComparisonConfig:
    """What is compared.

    Args:
        conditions: `transfer` sections by name.
        rows: the names of those that are compared, in the order of the table.
        baseline: the row whose final EPE the others are measured by.
        seeds: every row is run with each of them.
        jobs: runs side by side; they share `trainer.threads`. Small models train faster side by side than with many
            threads each.
    """

    conditions: dict[str, Any]
    rows: list[str]
    baseline: str
    seeds: list[int]
    jobs: int

    def __post_init__(self):
        for row in [*self.rows, self.baseline]:
            if row not in self.conditions:
                raise InputError(f"comparison names the row {row}; the conditions are {', '.join(self.conditions)}")
        if self.baseline not in self.rows:
            raise InputError(f"comparison.baseline is {self.baseline}, none of the rows {', '.join(self.rows)}")
        for key, values in (("rows", self.rows), ("seeds", self.seeds)):
            if len(set(values)) < max(1, len(values)):
                raise InputError(f"comparison.{key} is {list(values)}; it must name each once, and at least one")
        if self.jobs < 1:
            raise InputError(f"comparison.jobs is {self.jobs}; it must be at least 1")


def comparison(cfg: DictConfig) -> Artifact:
    """Run what is missing and compare; the artifact holds `report.html`, `comparison.csv`, `runs.csv`, `curves.csv`."""
    config = typed(ComparisonConfig, recordings.setting(cfg, "comparison"), "comparison")
    threads = {"threads": max(1, recordings.setting(cfg, "trainer")["threads"] // config.jobs)}
    configs = {
        (row, seed): _with(cfg, transfer=config.conditions[row], seed=seed, trainer=threads)
        for row in config.rows
        for seed in config.seeds
    }
    for run_cfg in configs.values():  # bad input ends here, not after what comes before it
        TrainingPlan.of(run_cfg)
        EstimationPlan.of(run_cfg, "evaluation")
    waves = recordings.recording(cfg)
    source = stages.pretraining(cfg)
    print(f"  {stages.against_baselines(source)}", flush=True)
    runs = _run_all(configs, config.jobs)

    values = {"rows": config.rows, "baseline": config.baseline, "seeds": config.seeds}
    parents = {"recording": waves, "pretraining": source}
    parents |= {f"training {run.row} seed {run.seed}": run.training for run in runs}
    parents |= {f"evaluation {run.row} seed {run.seed}": run.evaluation for run in runs}
    curves, errors = gather_curves(runs), gather_errors(runs)
    table = compare(curves, errors, config.baseline)

    def make(folder) -> None:
        table.to_csv(folder / "comparison.csv", index=False)
        errors.to_csv(folder / "runs.csv", index=False)
        curves.to_csv(folder / "curves.csv", index=False)
        write_report(folder / "report.html", cfg, waves, source, runs, curves, errors, table)

    made = build(recordings.outputs_folder(cfg), "comparison", "comparison", values, make, parents)
    print_comparison(table)
    return made


def _run_all(configs: dict[tuple[str, int], DictConfig], jobs: int) -> list[Run]:
    """Train and evaluate every row with every seed, several at a time; a failure does not stop the others."""
    tasks = {f"{row} seed {seed}": (run_cfg, row, seed) for (row, seed), run_cfg in configs.items()}
    runs, failures = {}, {}
    for count, (name, result) in enumerate(run_side_by_side(_run, tasks, jobs), start=1):
        (failures if isinstance(result, Exception) else runs)[name] = result
        outcome = f"failed: {result}" if isinstance(result, Exception) else "finished"
        print(f"  run {count} of {len(tasks)}, {name}, {outcome}", flush=True)
    unexpected = [error for error in failures.values() if not isinstance(error, InputError)]
    if unexpected:
        raise unexpected[0]
    if failures:
        listed = "; ".join(f"{name}: {error}" for name, error in failures.items())
        raise InputError(f"{len(failures)} of {len(tasks)} runs failed, the others are kept. {listed}")
    return [runs[name] for name in tasks]


def _with(cfg: DictConfig, **changes: Any) -> DictConfig:
    """The configuration of one run; `transfer` and `seed` are keys that the comparison's own has not."""
    extended = cfg.copy()
    OmegaConf.set_struct(extended, False)
    return OmegaConf.merge(extended, changes)


def _run(cfg: DictConfig, row: str, seed: int) -> Run:
    trained = stages.training(cfg)
    return Run(row, seed, trained, stages.evaluation(cfg, trained))


def gather_curves(runs: list[Run]) -> pd.DataFrame:
    """Return the validation curves: `row`, `seed`, `step`, `epe` (px), `1px`, `3px`, `5px` (%)."""
    tables = [stages.curve(run.training).assign(row=run.row, seed=run.seed) for run in runs]
    return pd.concat(tables, ignore_index=True)[["row", "seed", "step", *METRICS]]


def gather_errors(runs: list[Run]) -> pd.DataFrame:
    """Return the errors on held-out data: `row`, `seed`, `dataset`, `pairs`, the metrics and `no_motion`."""
    tables = [pooled(stages.errors_by_pair(run.evaluation)).assign(row=run.row, seed=run.seed) for run in runs]
    return pd.concat(tables, ignore_index=True)[["row", "seed", "dataset", "pairs", *METRICS, "no_motion"]]


def steps_to_reach(curve: pd.DataFrame, threshold: float) -> float | None:
    """Return the first validated step at which `epe` is at or below the threshold (px), or None if it never was."""
    reached = curve[curve.epe <= threshold].step
    return None if reached.empty else float(reached.min())


def compare(curves: pd.DataFrame, errors: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Return one line for each row and data set: mean and standard deviation over seeds, and steps to the baseline.

    `no_motion` is the EPE of predicting no motion there. `threshold_px` is the baseline's mean validation EPE
    at the last step; `seeds_reached` of the `seeds` came to it, in `steps_to_threshold` steps on average over those.
    With one seed the deviation is empty.
    """
    last = curves[curves.row == baseline].groupby("seed").tail(1).epe
    threshold = float(last.mean(skipna=False))
    lines = []
    for (row, dataset), of_row in errors.groupby(["row", "dataset"], sort=False):
        seeds = [curve for _, curve in curves[curves.row == row].groupby("seed")]
        steps = [step for step in (steps_to_reach(curve, threshold) for curve in seeds) if step is not None]
        line = {"row": row, "dataset": dataset, "seeds": len(of_row)}
        for metric in METRICS:
            line |= {
                f"{metric}_mean": of_row[metric].mean(skipna=False),
                f"{metric}_sd": of_row[metric].std(skipna=False),
            }
        line |= {"no_motion": of_row.no_motion.mean(), "threshold_px": threshold, "seeds_reached": len(steps)}
        line["steps_to_threshold"] = sum(steps) / len(steps) if steps else None
        lines.append(line)
    return pd.DataFrame(lines)
