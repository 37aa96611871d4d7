"""A comparison of finished runs: which run stands where, what was measured, and what it says."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import pandas as pd

from rwtl.comparing.conditions import FRACTION, percentage
from rwtl.comparing.measures import (
    STEPS,
    VALIDATION,
    AnalysisConfig,
    Cell,
    Threshold,
    measures,
    no_motion,
    thresholds_of,
)
from rwtl.comparing.runs import Recipe, Run, axis_values, name_of_transfer, recipes_of, require_one_recipe
from rwtl.comparing.summary import DATA, Baseline, baseline_of, data_to_reach, notes_on_seeds, summarise
from rwtl.errors import InputError
from rwtl.learning.metrics import METRICS


@dataclass(frozen=True)
class Comparison:
    """Runs, where they stand, and what they say.

    Args:
        runs, cells: by run's id.
        baseline: what the cells are compared with.
        config: how.
        thresholds: of the steps.
        table: the tidy table of measures.
        summary: the statistics.
        notes: what was left out, and what to beware of.
    """

    runs: Mapping[str, Run]
    cells: Mapping[str, Cell]
    baseline: Baseline
    config: AnalysisConfig
    thresholds: Sequence[Threshold]
    table: pd.DataFrame
    summary: pd.DataFrame
    notes: Sequence[str]

    def runs_of(self, cell: Cell) -> list[Run]:
        """Return a cell's runs, by seed."""
        return sorted((run for id, run in self.runs.items() if self.cells[id] == cell), key=lambda run: run.seed)

    def curves(self) -> pd.DataFrame:
        """Return the validation curves: `row`, `column`, `fraction`, `seed`, `step` and the metrics."""
        tables = [run.curve.assign(**asdict(self.cells[id]), seed=run.seed) for id, run in self.runs.items()]
        table = pd.concat(tables, ignore_index=True)
        return table[["row", "column", "fraction", "seed", "step", *(name for name in METRICS if name in table)]]

    @property
    def all_cells(self) -> list[Cell]:
        """Every cell once, in order."""
        return list(dict.fromkeys(self.cells[id] for id in self.runs))

    @property
    def most(self) -> float:
        """The largest fraction of the training data."""
        return max(cell.fraction for cell in self.all_cells)

    @property
    def datasets(self) -> list[str]:
        """The data sets that are evaluated, in order."""
        return list(self.evaluated().dataset.unique())

    @property
    def firsts(self) -> dict[Cell, Run]:
        """The first seed's run of every cell that has all the data."""
        return {cell: self.runs_of(cell)[0] for cell in self.all_cells if cell.fraction == self.most}

    def evaluated(self, dataset: str | None = None) -> pd.DataFrame:
        """Return the summary of the metric on evaluated data sets, or on one of them."""
        found = self.summary[self.summary.measure == self.config.metric]
        return found if dataset is None else found[found.dataset == dataset]

    def evaluations(self) -> list[tuple[str, pd.DataFrame]]:
        """Return the summary of each data set and fraction of the training data, by a text that names both."""
        found = []
        for (dataset, fraction), own in self.evaluated().groupby(["dataset", "fraction"], sort=False):
            title = dataset if fraction == self.most else f"{dataset}, trained on {percentage(fraction)}"
            found.append((title, own))
        return found


def cells_by_axes(runs: Sequence[Run], rows: Sequence[str], columns: str | None) -> dict[str, Cell]:
    """Return where each run stands, by the values of keys of its configuration.

    Args:
        runs: to be told apart.
        rows: keys or sections, by whose values rows are named.
        columns: such a key for the columns, or None.

    Raises InputError where runs differ in anything else, or two runs of one seed stand in one cell.
    """
    recipes = recipes_of(runs)
    axes = [*rows, *([columns] if columns else [])]
    if columns in rows:
        raise InputError(f"columns is {columns}, which rows names too; a key can be one of them alone")
    names = {run.id: name_of_transfer(run.config["transfer"]) for run in runs}
    values = {axis: axis_values(recipes, axis, names) for axis in axes}
    require_one_recipe(recipes, axes)
    cells = {}
    for run in runs:
        shown = [(axis, values[axis][run.id]) for axis in rows]
        parts = [f"{axis} {value}" if "." in axis else value for axis, value in shown if value is not None]
        column = values[columns][run.id] if columns else None
        if column is not None and "." in columns:
            column = f"{columns.rpartition('.')[2]} {column}"
        cells[run.id] = Cell(" · ".join(parts) or "default", column, float(recipes[run.id][FRACTION]))
    require_sound_cells(runs, cells, recipes)
    return cells


def require_sound_cells(runs: Sequence[Run], cells: Mapping[str, Cell], recipes: Mapping[str, Recipe]) -> None:
    """Raise InputError where runs of one cell differ in more than their seed, or have one seed twice."""
    first: dict[Cell, str] = {}
    seen: dict[tuple[Cell, int], str] = {}
    for run in runs:
        cell = cells[run.id]
        one = recipes[first.setdefault(cell, run.id)]
        own = recipes[run.id]
        differing = [key for key in dict.fromkeys([*one, *own]) if one.get(key) != own.get(key)]
        if differing:
            both = [f"{key} ({one.get(key, 'not there')} | {own.get(key, 'not there')})" for key in differing[:8]]
            raise InputError(
                f"{first[cell]} and {run.id} both stand for {cell.name}, but differ in {', '.join(both)}; name such a "
                "key in rows or columns, or give fewer runs"
            )
        if (cell, run.seed) in seen:
            raise InputError(f"{seen[cell, run.seed]} and {run.id} are both {cell.name} with seed {run.seed}")
        seen[cell, run.seed] = run.id


def analyse(
    runs: Sequence[Run],
    cells: Mapping[str, Cell],
    baseline: str | None,
    config: AnalysisConfig,
    notes: Sequence[str] = (),
) -> Comparison:
    """Return the comparison of runs that stand in cells.

    Args:
        runs: in the order of the tables.
        cells: by run's id.
        baseline: a row or a cell; None for `scratch`.
        config: how to compare.
        notes: what is known to be missing already.

    Raises InputError where a run has no validation of the metric.
    """
    by_id = {run.id: run for run in runs}
    for id, run in by_id.items():
        if config.metric not in run.curve:
            metrics = ", ".join(name for name in METRICS if name in run.curve)
            raise InputError(f"{id} has no validation of {config.metric}, which is analysis.metric; it has {metrics}")
    known = list(dict.fromkeys(cells[id] for id in by_id))
    base = baseline_of(baseline, known)
    of_baseline = [id for id in by_id if base.is_baseline(cells[id])]
    most = max(cells[id].fraction for id in of_baseline)
    limits = thresholds_of([by_id[id].curve for id in of_baseline if cells[id].fraction == most], config)
    table, more = measures(by_id, cells, limits, config)
    table = pd.concat([table, data_to_reach(table, base, config)], ignore_index=True)
    compared = Comparison(by_id, dict(cells), base, config, limits, table, summarise(table, base, config), [])
    seen = [*_notes_on_twins(compared), *notes_on_seeds(table, base), *_notes_on_what_says_nothing(compared)]
    return replace(compared, notes=[*notes, *more, *seen])


def _notes_on_twins(compared: Comparison) -> list[str]:
    """Say which cells have the same curves to the bit: a control that turns out to be what it controls says nothing."""
    alike: dict[tuple, list[str]] = {}
    for cell in compared.all_cells:
        curves = tuple((run.seed, run.curve.to_csv(index=False)) for run in compared.runs_of(cell))
        alike.setdefault(curves, []).append(cell.name)
    return [
        f"{' and '.join(names)} have the same curves to the bit with every seed: they are the same trainings, and "
        "their difference says nothing"
        for names in alike.values()
        if len(names) > 1
    ]


def _notes_on_what_says_nothing(compared: Comparison) -> list[str]:
    """Say which thresholds are no achievement, and on which data sets nothing of the task has been learnt."""
    notes = [
        f"a threshold of {limit.name} is met by untrained networks: steps to it say nothing"
        for limit in compared.thresholds
        if limit.met_untrained
    ]
    epe = compared.summary[compared.summary.measure == "epe"]
    for dataset, still in no_motion(compared.runs).items():
        means = epe[epe.dataset == dataset]["mean"]
        if len(means) and not (means < still).any():  # which what is no number is not
            notes.append(
                f"on {dataset} every condition is worse than predicting no motion ({still:.2f} px): differences there "
                "are between ways to be wrong"
            )
    return notes


def verdicts(compared: Comparison) -> list[str]:
    """Return sentences on what differs: on each data set, in steps to each threshold, in data needed; and what not.

    A difference counts where it is significant and at least `analysis.effect` of the baseline's mean.
    """
    summary, config = compared.summary, compared.config
    tested = summary[summary.p_corrected.notna()]
    if tested.empty:
        return ["Nothing can be tested: it takes two seeds or more, and a baseline beside each condition."]
    most = int(tested.pairs.max())
    if 2 / 2**most >= config.alpha:
        return [f"No difference can be significant: of {most} seeds, p is at least {2 / 2**most:.3g}."]
    found, untold = {}, []
    for title, own in compared.evaluations():
        found[f"on {title}"] = _effects(own, compared, f"a better {config.metric}", config.lower_is_better)
    validation = summary[(summary.dataset == VALIDATION) & (summary.fraction == compared.most)]
    for limit in compared.thresholds:
        own = validation[validation.measure == f"{STEPS}{limit.name}"]
        if limit.met_untrained:
            untold.append(f"Steps to {limit.name}: untrained networks are there, so the steps say nothing.")
        elif not own.reached.sum():
            untold.append(f"Steps to {limit.name}: nobody came there.")
        else:
            found[f"steps to {limit.name}"] = _effects(own, compared, "fewer steps")
    of_data = summary[summary.measure.str.startswith(DATA)]
    for (dataset, measure), own in of_data.groupby(["dataset", "measure"], sort=False):
        found[f"{measure} on {dataset}"] = _effects(own, compared, "less data")
    sentences = [f"{begin[0].upper()}{begin[1:]}: {said}." for begin, said in found.items() if said]
    if nothing := [begin for begin, said in found.items() if not said]:
        sentences.append(f"Nothing differs from {compared.baseline.name} by what counts {'; '.join(nothing)}.")
    return sentences + untold


def _effects(own: pd.DataFrame, compared: Comparison, better: str, lower: bool = True) -> str:
    """Return which conditions are better, and which worse, or an empty text."""
    tested = own[own.p_corrected.notna()]
    counts = tested[tested.significant & (tested.relative.abs() >= compared.config.effect)]
    is_good = counts.difference < 0 if lower else counts.difference > 0
    said = []
    for word, lines in ((better, counts[is_good]), ("worse", counts[~is_good])):
        named = [
            f"{Cell.of(line).name} ({100 * line.relative:+.0f} %, p {line.p_corrected:.3f})"
            for line in lines.itertuples()
        ]
        said += [f"{word} than {compared.baseline.name}: {', '.join(named)}"] if named else []
    return "; ".join(said) + (f" (of {len(tested)} conditions)" if said else "")
