"""What a comparison says: statistics over seeds of every measure and cell, beside the baseline of the same seed."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from rwtl.comparing.conditions import plain
from rwtl.comparing.measures import COST, STEPS, AnalysisConfig, Cell
from rwtl.comparing.statistics import effect_size, interval_of_mean, median_until, paired_tests, seeds_needed
from rwtl.errors import InputError

FEW = 5  # seeds; of fewer, tables say so
DATA = "data to "
ALONE = ["dataset", "measure", "row", "column", "fraction", "seeds", "reached", "mean", "sd", "low", "high", "median"]
BESIDE = ["pairs", "difference", "difference_low", "difference_high", "relative", "effect_size", "p", "p_corrected"]
BESIDE += ["significant", "seeds_needed"]


@dataclass(frozen=True)
class Baseline:
    """What the cells are compared with.

    Args:
        row: its name.
        column: of the one cell that is the baseline for all; None for that of the same column, or the only one.
    """

    row: str
    column: str | None = None

    @property
    def name(self) -> str:
        return self.row if self.column is None else f"{self.row} · {self.column}"

    def cell_for(self, cell: Cell, cells: Iterable[Cell]) -> Cell | None:
        """Return the baseline's cell at the same fraction of data; None where there is none, or no single one."""
        of_row = [each for each in cells if self.is_baseline(each) and each.fraction == cell.fraction]
        same = [each for each in of_row if each.column == cell.column]
        found = same or of_row
        return found[0] if len(found) == 1 else None

    def is_baseline(self, cell: Cell) -> bool:
        return cell.row == self.row and self.column in (None, cell.column)


def baseline_of(name: str | None, cells: Sequence[Cell]) -> Baseline:
    """Return the baseline that a name stands for: a row's, or a cell's such as `freeze_none dt 0.2`; of None `scratch`.

    Raises InputError where there is no such row.
    """
    wanted = "scratch" if name is None else name
    if wanted in {cell.row for cell in cells}:
        return Baseline(wanted)
    for cell in cells:
        if plain(cell.name) == plain(wanted):
            return Baseline(cell.row, cell.column)
    known = ", ".join(dict.fromkeys([*(cell.row for cell in cells), *(cell.name for cell in cells)]))
    missing = "no baseline is named, and there is no row scratch" if name is None else f"baseline is {name}"
    raise InputError(f"{missing}; choose one of {known}")


def summarise(table: pd.DataFrame, baseline: Baseline, config: AnalysisConfig) -> pd.DataFrame:
    """Return one line for each measure and cell, with statistics over seeds.

    Args:
        table: the tidy table of `rwtl.comparing.measures`.
        baseline: which every cell is compared with, seed by seed.
        config: levels and the effect that is to be seen.

    Columns: `dataset`, `measure`, `row`, `column`, `fraction`; `seeds`, `reached` (of them; fewer for steps and data
    that were not enough), `mean`, `sd`, `low`, `high` (Student's t interval of the mean); `median` of steps and data
    (Kaplan–Meier: inf where half of the seeds never came there), whose mean counts those that did not with all they
    had; and beside the baseline, over `pairs` of the same seed: `difference`, its `difference_low` and
    `difference_high`, `relative` (to the baseline's mean), `effect_size` (Hedges' g of the paired differences), `p`,
    `p_corrected` for all cells of the same measure, data set and fraction, `significant`, and `seeds_needed`, by the
    spread that was found, to see a difference of `config.effect` of the baseline's mean, at the level of as many
    comparisons.
    """
    lines = []
    for (dataset, measure, _), family in table.groupby(["dataset", "measure", "fraction"], sort=False):
        values = by_cell(family)
        beside = {cell: baseline.cell_for(cell, values) for cell in values if dataset != COST}
        differences = {}
        for cell, base in beside.items():
            if base not in (None, cell):
                both = values[cell].merge(values[base], on="seed")
                differences[cell] = dict(zip(both.seed, both.value_x - both.value_y, strict=True))
        tests = paired_tests({cell.name: pairs for cell, pairs in differences.items()}, config.seed)
        for cell, of_cell in values.items():
            line = {"dataset": dataset, "measure": measure, **asdict(cell), **_alone(of_cell, measure, config)}
            if cell in differences:
                base = values[beside[cell]].value.mean()
                line |= _beside(differences[cell], base, len(differences), config)
                line["p"], line["p_corrected"] = tests[cell.name]
            lines.append(line)
    summary = pd.DataFrame(lines, columns=[*ALONE, *BESIDE])
    summary["pairs"] = summary["pairs"].fillna(0).astype(int)
    summary["significant"] = summary["p_corrected"] < config.alpha
    return summary


def by_cell(table: pd.DataFrame) -> dict[Cell, pd.DataFrame]:
    """Return the lines of every cell of a tidy table, in its order."""
    groups = table.groupby(["row", "column", "fraction"], sort=False, dropna=False)
    return {Cell.of(lines.iloc[0]): lines for _, lines in groups}


def _alone(lines: pd.DataFrame, measure: str, config: AnalysisConfig) -> dict[str, float | int]:
    values, reached = lines.value.to_numpy(dtype=float), lines.reached.to_numpy(dtype=bool)
    low, high = interval_of_mean(values, config.confidence)
    found = {"seeds": len(values), "reached": int(reached.sum()), "mean": values.mean(), "low": low, "high": high}
    found["sd"] = values.std(ddof=1) if len(values) > 1 else float("nan")
    found["median"] = median_until(values, reached) if measure.startswith((STEPS, DATA)) else float("nan")
    return found


def _beside(pairs: dict[int, float], base: float, comparisons: int, config: AnalysisConfig) -> dict[str, float | int]:
    values = np.array(list(pairs.values()), dtype=float)
    found: dict[str, float | int] = {"pairs": len(values)}
    if not len(values):
        return found
    low, high = interval_of_mean(values, config.confidence)
    found |= {"difference": values.mean(), "difference_low": low, "difference_high": high}
    found |= {"relative": values.mean() / base if base else float("nan"), "effect_size": effect_size(values)}
    if len(values) > 1 and np.isfinite(values).all() and base:
        level = config.alpha / comparisons
        found["seeds_needed"] = seeds_needed(float(values.std(ddof=1)), config.effect * abs(base), level, config.power)
    return found


def notes_on_seeds(table: pd.DataFrame, baseline: Baseline) -> list[str]:
    """Say which cells have few seeds, and which lack some of the baseline's."""
    cells = {cell: set(lines.seed) for cell, lines in by_cell(table).items()}
    notes = []
    for cell, seeds in cells.items():
        beside = baseline.cell_for(cell, cells)
        if beside is None:
            if not baseline.is_baseline(cell):
                notes.append(f"{cell.title}: there is no single {baseline.name} beside it, so it is shown alone")
            continue
        if lacking := sorted(cells[beside] - seeds):
            notes.append(f"{cell.title} lacks seeds {lacking} of {baseline.name}: {len(seeds)} seeds are compared")
        if extra := sorted(seeds - cells[beside]):
            notes.append(f"{cell.title} has seeds {extra} without {baseline.name}, which count in its mean alone")
    if few := [len(seeds) for seeds in cells.values() if len(seeds) < FEW]:
        notes.append(
            f"{len(few)} of {len(cells)} conditions have few seeds ({', '.join(map(str, sorted(set(few))))}): with n "
            "seeds p is never below 2 / 2^n, and intervals need four"
        )
    return notes


def data_to_reach(table: pd.DataFrame, baseline: Baseline, config: AnalysisConfig) -> pd.DataFrame:
    """Return lines for the tidy table: which part of the data each seed of a row needs to come to a share of what the
    baseline has with all its data, on every data set on which that was run with several parts.

    Between two fractions the metric is taken to be linear in the logarithm of the fraction. A value that is reached
    with the smallest fraction is reached by then; one that the largest does not reach counts with that, not `reached`.
    """
    lines = []
    for _, of_dataset in table[table.measure == config.metric].groupby("dataset", sort=False):
        own = of_dataset[[baseline.is_baseline(Cell.of(line)) for line in of_dataset.itertuples()]]
        if own.fraction.nunique() < 2:
            continue
        for share in config.baseline_shares:
            limit = share * own[own.fraction == own.fraction.max()].value.mean()
            measure = f"{DATA}{limit:.3g} ({100 * share:g} % of the baseline)"
            for _, of_seed in of_dataset.groupby(["row", "column", "seed"], sort=False, dropna=False):
                by_fraction = of_seed.sort_values("fraction")
                if len(by_fraction) < 2:
                    continue
                fractions, values = by_fraction.fraction.to_numpy(), by_fraction.value.to_numpy(dtype=float)
                sign = 1 if config.lower_is_better else -1
                needed, reached = _crossing(fractions, sign * values, sign * limit)
                told = {"fraction": fractions[-1], "measure": measure, "value": needed, "reached": reached}
                lines.append({**of_seed.iloc[-1], **told})
    return pd.DataFrame(lines, columns=table.columns)


def _crossing(fractions: np.ndarray, values: np.ndarray, limit: float) -> tuple[float, bool]:
    below = np.flatnonzero(values <= limit)
    if not len(below):
        return float(fractions[-1]), False
    first = int(below[0])
    if first == 0:
        return float(fractions[0]), True
    x0, x1 = np.log(fractions[first - 1]), np.log(fractions[first])
    share = (values[first - 1] - limit) / (values[first - 1] - values[first])
    return float(np.exp(x0 + share * (x1 - x0))), True
