"""Tidy table of all measures, one line for each run and measure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import pandas as pd

from rwtl.comparing.conditions import percentage
from rwtl.comparing.runs import Run
from rwtl.config import flat, short
from rwtl.learning.evaluation import not_finite, pooled, shortened
from rwtl.learning.metrics import METRICS, SPEEDS, THRESHOLDS
from rwtl.program import call_of
from rwtl.sections import OneOf, Positive, Real, Seed, Within01, section

HIGHER_IS_BETTER = tuple(f"{threshold}px" for threshold in THRESHOLDS)
VALIDATION = "validation"  # the data set's name of what is measured on the validation curve
COST = "cost"
STEPS = "steps to "
COLUMNS = ["row", "column", "fraction", "seed", "run", "dataset", "measure", "value", "reached"]


@section("analysis")
class AnalysisConfig:
    """How runs are compared.

    Args:
        metric: that of the curves and evaluations: epe (px), or 1px, 3px, 5px, fl_all (%), s0_10, s10_40, s40 (px).
        thresholds: of the metric on validation: how many steps does it take to come there?
        baseline_shares: the same, in units of the baseline's mean at the end of training; 1 is what it ends with.
        confidence: of the intervals.
        alpha: level at which a corrected p counts as significant.
        effect: share of the baseline's mean that the study is to be able to see, for the number of seeds needed.
        power: with which it is to see it.
        seed: of the random signs, which are drawn where there are more than twelve seeds.
    """

    metric: Annotated[str, OneOf(METRICS)] = "epe"
    thresholds: list[Real] = field(default_factory=list)
    baseline_shares: list[Positive] = field(default_factory=lambda: [1.1, 1.0])
    confidence: Within01 = 0.95
    alpha: Within01 = 0.05
    effect: Positive = 0.05
    power: Within01 = 0.8
    seed: Seed = 0

    @property
    def lower_is_better(self) -> bool:
        return self.metric not in HIGHER_IS_BETTER


@dataclass(frozen=True)
class Cell:
    """Where a run stands in the comparison: None where it does not depend on the columns."""

    row: str
    column: str | None
    fraction: float

    @classmethod
    def of(cls, line: Any) -> "Cell":
        """Return the cell of a line of the tidy table or of the summary."""
        return cls(line.row, None if pd.isna(line.column) else line.column, line.fraction)

    @property
    def order(self) -> tuple[str, float, str, float]:
        """By which tables that are made of whatever was found are sorted: values of columns by their size."""
        try:
            value = float((self.column or "").rpartition(" ")[2])
        except ValueError:
            value = 0.0
        return self.row, value, self.column or "", -self.fraction

    @property
    def name(self) -> str:
        return self.row if self.column is None else f"{self.row} · {self.column}"

    @property
    def title(self) -> str:
        """The name, with the part of the data where that is not all."""
        return self.name if self.fraction == 1 else f"{self.name} · {percentage(self.fraction)}"


@dataclass(frozen=True)
class Threshold:
    """A value of the metric on validation.

    Args:
        value: in the metric's unit.
        name: how tables call it.
        met_untrained: whether the baseline's networks are there before any training, so that steps say nothing.
    """

    value: float
    name: str
    met_untrained: bool


def thresholds_of(curves: Sequence[pd.DataFrame], config: AnalysisConfig) -> list[Threshold]:
    """Return the thresholds; those in units of the baseline's are of these validation curves, its own."""
    last = float(np.mean([curve[config.metric].iloc[-1] for curve in curves]))
    first = [float(curve[config.metric].iloc[0]) for curve in curves if curve.step.iloc[0] == 0]
    named = [(share * last, f" ({100 * share:g} % of the baseline)") for share in config.baseline_shares]
    named += [(value, "") for value in config.thresholds]
    unit = "px" if config.metric in ("epe", *SPEEDS) else "%"
    return [
        Threshold(value, f"{value:.3g} {unit}{name}", bool(first and _reaches(np.mean(first), value, config)))
        for value, name in named
        if np.isfinite(value)
    ]


def _reaches(values: Any, threshold: float, config: AnalysisConfig) -> Any:
    return values <= threshold if config.lower_is_better else values >= threshold


def steps_to_reach(curve: pd.DataFrame, threshold: float, config: AnalysisConfig) -> tuple[float, bool]:
    """Return the first validated step at which the metric is at the threshold or better, and True; else the last."""
    reached = curve.step[_reaches(curve[config.metric], threshold, config)]
    return (float(curve.step.iloc[-1]), False) if reached.empty else (float(reached.iloc[0]), True)


def measures(
    runs: Mapping[str, Run], cells: Mapping[str, Cell], limits: Sequence[Threshold], config: AnalysisConfig
) -> tuple[pd.DataFrame, list[str]]:
    """Return the tidy table, with the columns COLUMNS, and notes on what is missing.

    Its measures, in the unit of the metric or as they say: on each evaluated `dataset` the metric itself; on the
    validation curve `final`, `best`, `area` (the mean over training, by trapezoids) and `steps to …`, of which those
    that were not `reached` hold the last step; and as cost `training s`, `pre-training s` (all that comes before the
    training: what several runs share counts for each), `both s`.
    """
    lines: list[tuple[Any, ...]] = []
    notes: list[str] = []
    names = dataset_names(runs)
    length = max(int(run.curve.step.iloc[-1]) for run in runs.values())
    for id, run in runs.items():
        cell, last = cells[id], int(run.curve.step.iloc[-1])
        found = [(dataset, config.metric, value) for dataset, value in _evaluated(run, names, config.metric).items()]
        if last == length:
            found += [(VALIDATION, measure, value) for measure, value in _of_curve(run.curve, config).items()]
        else:
            notes.append(
                f"{id} ({cell.name}, seed {run.seed}): its curve ends at step {last}, others at {length}; it counts "
                "for the steps that it came to alone"
            )
        unfit = [
            f"{dataset} ({shortened(of)})" for _, errors in run.errors for dataset, of in not_finite(errors).items()
        ]
        if unfit:
            notes.append(f"{id} ({cell.name}, seed {run.seed}): its estimate is not finite on {'; '.join(unfit)}")
        if np.isfinite(run.seconds):
            before = float(sum(run.upstream.values()))
            costs = {"training s": run.seconds, "pre-training s": before, "both s": run.seconds + before}
            found += [(COST, measure, value) for measure, value in costs.items()]
        came = [(f"{STEPS}{limit.name}", *steps_to_reach(run.curve, limit.value, config)) for limit in limits]
        about = (cell.row, cell.column, cell.fraction, run.seed, id)
        lines += [(*about, *measured, True) for measured in found]
        lines += [(*about, VALIDATION, *measured) for measured in came]
    missing = sorted(id for id, run in runs.items() if not run.errors)
    if missing:
        some = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        said = f"{len(missing)} of {len(runs)} runs have no evaluation ({some})"
        notes.append(f"{said}: {call_of('evaluate')} measures them on other data")
    return pd.DataFrame(lines, columns=COLUMNS), notes


def _of_curve(curve: pd.DataFrame, config: AnalysisConfig) -> dict[str, float]:
    values = curve[config.metric]
    finite = values[np.isfinite(values)]
    found = {"final": values.iloc[-1], "best": finite.min() if config.lower_is_better else finite.max()}
    if len(curve) > 1:
        found["area"] = np.trapezoid(values, curve.step) / (curve.step.iloc[-1] - curve.step.iloc[0])
    return found


def dataset_names(runs: Mapping[str, Run]) -> dict[tuple[str, str], str]:
    """Return a name for every data set as it was evaluated, by data set and a text of how it was.

    A name of the catalogue stands for one thing, unless evaluations differ in iterations or in what the data set holds;
    then what differs is in the name, so that nothing is mixed.
    """
    settings: dict[str, dict[str, dict[str, Any]]] = {}
    for run in runs.values():
        for values, errors in run.errors:
            for dataset in errors.dataset.unique():
                own = dict(flat(values | {"datasets": values["datasets"][dataset]}))
                settings.setdefault(dataset, {})[str(values)] = own
    names = {}
    for dataset, variants in settings.items():
        keys = dict.fromkeys(key for values in variants.values() for key in values)
        varying = [key for key in keys if len({short(values.get(key)) for values in variants.values()}) > 1]
        for text, values in variants.items():
            said = ", ".join(f"{key.removeprefix('datasets.')} {short(values.get(key))[:40]}" for key in varying)
            names[dataset, text] = f"{dataset} ({said})" if said else dataset
    return names


def _evaluated(run: Run, names: dict[tuple[str, str], str], column: str) -> dict[str, float]:
    return {
        names[line.dataset, str(values)]: float(line[column])
        for values, errors in run.errors
        for _, line in pooled(errors).iterrows()
    }


def no_motion(runs: Mapping[str, Run]) -> dict[str, float]:
    """Return the EPE (px) of predicting no motion on every data set."""
    names = dataset_names(runs)
    return {name: value for run in runs.values() for name, value in _evaluated(run, names, "no_motion").items()}
