"""The tables of a comparison, gathered from finished runs."""

import pandas as pd

from rwtl.study import stages
from rwtl.study.evaluation import pooled
from rwtl.study.runs import Run, Source
from rwtl.training.metrics import METRICS


def gather_curves(runs: list[Run]) -> pd.DataFrame:
    """Return the validation curves: `row`, `seed`, `step`, `epe` (px), `1px`, `3px`, `5px` (%)."""
    tables = [stages.curve(run.training).assign(row=run.row, seed=run.seed) for run in runs]
    return pd.concat(tables, ignore_index=True)[["row", "seed", "step", *METRICS]]


def gather_errors(runs: list[Run]) -> pd.DataFrame:
    """Return the errors on held-out data: `row`, `seed`, `dataset`, `pairs`, the metrics and `no_motion`."""
    tables = [pooled(stages.errors_by_pair(run.evaluation)).assign(row=run.row, seed=run.seed) for run in runs]
    return pd.concat(tables, ignore_index=True)[["row", "seed", "dataset", "pairs", *METRICS, "no_motion"]]


def gather_skill(sources: list[Source]) -> pd.DataFrame | None:
    """Return the skill of every next-frame pre-training, named in `source`; None where there is none."""
    tables = [(source.name, stages.skill_of(source.pretraining)) for source in sources]
    named = [table.assign(source=name) for name, table in tables if table is not None]
    return pd.concat(named, ignore_index=True).set_index("source").reset_index() if named else None


def steps_to_reach(curve: pd.DataFrame, threshold: float) -> float | None:
    """Return the first validated step at which `epe` is at or below the threshold (px), or None if it never was."""
    reached = curve[curve.epe <= threshold].step
    return None if reached.empty else float(reached.min())


def compare(curves: pd.DataFrame, errors: pd.DataFrame, baseline: str, differences: dict[str, str]) -> pd.DataFrame:
    """Return one line for each row and data set: mean and standard deviation over seeds, and steps to the baseline.

    `differs_in` is the row's entry of `differences`. `no_motion` is the EPE of predicting no motion there.
    `threshold_px` is the baseline's mean validation EPE at the last step; `seeds_reached` of the `seeds` came to it, in
    `steps_to_threshold` steps on average over those. With one seed the deviation is empty.
    """
    last = curves[curves.row == baseline].groupby("seed").tail(1).epe
    threshold = float(last.mean(skipna=False))
    lines = []
    for (row, dataset), of_row in errors.groupby(["row", "dataset"], sort=False):
        seeds = [curve for _, curve in curves[curves.row == row].groupby("seed")]
        steps = [step for step in (steps_to_reach(curve, threshold) for curve in seeds) if step is not None]
        line = {"row": row, "differs_in": differences[row], "dataset": dataset, "seeds": len(of_row)}
        for metric in METRICS:
            line |= {
                f"{metric}_mean": of_row[metric].mean(skipna=False),
                f"{metric}_sd": of_row[metric].std(skipna=False),
            }
        line |= {"no_motion": of_row.no_motion.mean(), "threshold_px": threshold, "seeds_reached": len(steps)}
        line["steps_to_threshold"] = sum(steps) / len(steps) if steps else None
        lines.append(line)
    return pd.DataFrame(lines)
