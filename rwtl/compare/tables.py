"""The tables of evaluations and comparisons as people read them: on the terminal, in Markdown and in LaTeX."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Column, Table

from rwtl import files
from rwtl.compare.analysis import Comparison
from rwtl.compare.conditions import percentage
from rwtl.compare.measures import COST, VALIDATION, Cell
from rwtl.compare.summary import DATA, FEW, STEPS
from rwtl.terminal import number, show
from rwtl.training.evaluation import pooled
from rwtl.training.metrics import METRICS

HEADINGS = {"epe": "EPE px", "1px": "< 1 px %", "3px": "< 3 px %", "5px": "< 5 px %"}
FURTHER = {"fl_all": "Fl-all %", "s0_10": "s0-10", "s10_40": "s10-40", "s40": "s40+"}
NO_MOTION = "no motion px"
OF_PAIRS = "pairs' EPE px"
LISTED_PAIRS = 12


def print_evaluation(errors: pd.DataFrame) -> None:
    """Print the errors of every data set as a whole, and of every pair where they are few."""
    columns = [*METRICS, "no_motion"]
    headings = (*HEADINGS.values(), *FURTHER.values(), NO_MOTION, OF_PAIRS)
    table = Table(Column("data set", no_wrap=True), "pair", *headings)
    for dataset, pairs in errors.groupby("dataset", sort=False):
        if len(pairs) <= LISTED_PAIRS:
            for _, row in pairs.iterrows():
                table.add_row(dataset, row.pair, *(number(row[column], ".2f", "-") for column in columns))
    for _, row in pooled(errors).iterrows():
        of_all = (*columns, "epe_of_pairs")
        table.add_row(
            row.dataset, f"all {row.pairs}", *(number(row[column], ".2f", "-") for column in of_all), style="bold"
        )
    show(table)


UNITS = {"epe": "EPE px", "1px": "< 1 px %", "3px": "< 3 px %", "5px": "< 5 px %", "fl_all": "Fl-all %"}
UNITS |= {"s0_10": "s0-10 px", "s10_40": "s10-40 px", "s40": "s40+ px"}


@dataclass(frozen=True)
class Shown:
    """A table for people.

    Args:
        title: what it is of.
        lines: texts; the first column names the condition.
        best: the number of the line that is best, if one can be said to be.
        significant: of each line, whether it differs significantly from the baseline; where a line holds several
            measures, a star says it of each.
        baseline: the numbers of the baseline's lines.
    """

    title: str
    lines: pd.DataFrame
    best: int | None
    significant: list[bool]
    baseline: list[int]


def legend(compared: Comparison) -> str:
    """Return how to read the tables."""
    config = compared.config
    return (
        f"mean [{100 * config.confidence:g} % Student's t interval] over seeds, ± sd of fewer than four; difference: "
        f"from {compared.baseline.name} of the same seed; g: that in standard deviations; p: by sign permutation, "
        f"corrected for all conditions of a table; *: below {config.alpha:g}; needed: seeds that would show a "
        f"difference of {100 * config.effect:g} %. Steps and data: the median over seeds, "
        "in brackets how many came there"
    )


def shown_tables(compared: Comparison) -> list[Shown]:
    """Return the tables: errors on each data set, validation, data needed, and cost."""
    summary, metric = compared.summary, compared.config.metric
    tables = []
    for (dataset, fraction), own in summary[summary.measure == metric].groupby(["dataset", "fraction"], sort=False):
        title = dataset if fraction == compared.most else f"{dataset}, trained on {percentage(fraction)}"
        tables.append(_errors(title, own, compared))
    whole = summary[summary.fraction == compared.most]
    tables.append(_training(whole[whole.dataset == VALIDATION], compared))
    if len(needed := summary[summary.measure.str.startswith(DATA)]):
        tables.append(_data(needed, compared))
    if len(cost := whole[whole.dataset == COST]):
        tables.append(_cost(cost, compared))
    return tables


def _errors(title: str, own: pd.DataFrame, compared: Comparison) -> Shown:
    lines = pd.DataFrame({"condition": [cell_of(line).name for line in own.itertuples()]})
    lines["seeds"] = [_seeds(line.seeds) for line in own.itertuples()]
    lines[UNITS[compared.config.metric]] = [
        interval(line.mean, line.low, line.high, "", line.sd) for line in own.itertuples()
    ]
    if own.pairs.any():
        lines["difference"] = [
            interval(line.difference, line.difference_low, line.difference_high, sign="+") for line in own.itertuples()
        ]
        lines["%"] = [number(100 * line.relative, "+.1f") for line in own.itertuples()]
        lines["g"] = [number(line.effect_size, "+.2f") for line in own.itertuples()]
        lines["p"] = [p_value(line.p_corrected, line.significant) for line in own.itertuples()]
        lines["needed"] = [number(line.seeds_needed, ".0f") for line in own.itertuples()]
    means = own["mean"].to_numpy() * (1 if compared.config.lower_is_better else -1)
    return _shown(title, lines, means, own, compared)


def _training(own: pd.DataFrame, compared: Comparison) -> Shown:
    measures = [m for m in dict.fromkeys(own.measure) if m.startswith(STEPS)]
    groups = own.groupby("measure", sort=False)
    by_measure = {measure: lines.set_index(["row", "column"], drop=False) for measure, lines in groups}
    first = by_measure[next(iter(by_measure))]
    table = {"condition": [cell_of(line).name for line in first.itertuples()]}
    unit = UNITS[compared.config.metric]
    for measure, heading in (("final", f"final {unit}"), ("best", "best"), ("area", "area")):
        if measure in by_measure:
            of_measure = by_measure[measure].reindex(first.index)
            table[heading] = [_starred(number(line.mean, ".2f"), line) for line in of_measure.itertuples()]
    met = {f"{STEPS}{limit.name}": limit.met_untrained for limit in compared.thresholds}
    for measure in measures:
        of_measure = by_measure[measure].reindex(first.index)
        steps = [_starred(reached(line, ".0f"), line) for line in of_measure.itertuples()]
        table[measure] = ["met untrained"] * len(steps) if met[measure] else steps
    final = by_measure.get("final")
    means = np.full(len(first), np.nan) if final is None else final.reindex(first.index)["mean"].to_numpy()
    means = means if compared.config.lower_is_better else -means
    return _shown("Training, on validation", pd.DataFrame(table), means, first.assign(significant=False), compared)


def _data(own: pd.DataFrame, compared: Comparison) -> Shown:
    table: dict[str, list[str]] = {}
    cells = list(dict.fromkeys(cell_of(line) for line in own.itertuples()))
    table["condition"] = [cell.name for cell in cells]
    for (dataset, measure), lines in own.groupby(["dataset", "measure"], sort=False):
        by_cell = {cell_of(line): line for line in lines.itertuples()}
        heading = f"{dataset}: {measure.removeprefix(DATA)}"
        least = min(cell.fraction for cell in compared.all_cells)
        texts = [reached(by_cell[cell], ".2g", 100, " %") for cell in cells]
        below = ["≤ " if by_cell[cell].median <= least else "" for cell in cells]
        table[heading] = [_starred(b + text, by_cell[cell]) for b, text, cell in zip(below, texts, cells, strict=True)]
    first = own.groupby(["row", "column"], sort=False, dropna=False).head(1)
    return _shown(
        "Data needed", pd.DataFrame(table), np.full(len(cells), np.nan), first.assign(significant=False), compared
    )


def _cost(own: pd.DataFrame, compared: Comparison) -> Shown:
    cells = list(dict.fromkeys(cell_of(line) for line in own.itertuples()))
    table: dict[str, list[str]] = {"condition": [cell.name for cell in cells]}
    for measure, lines in own.groupby("measure", sort=False):
        by_cell = {cell_of(line): line for line in lines.itertuples()}
        table[measure] = [number(by_cell[cell].mean, ".0f") if cell in by_cell else "" for cell in cells]
    first = own.groupby(["row", "column"], sort=False, dropna=False).head(1)
    return _shown("Wall time of a run", pd.DataFrame(table), np.full(len(cells), np.nan), first, compared)


def _shown(title: str, lines: pd.DataFrame, means: np.ndarray, own: pd.DataFrame, compared: Comparison) -> Shown:
    best = None if np.isnan(means).all() or len(means) < 2 else int(np.nanargmin(means))
    significant = [bool(line.significant) for line in own.itertuples()]
    baseline = [k for k, line in enumerate(own.itertuples()) if compared.baseline.is_baseline(cell_of(line))]
    return Shown(title, lines, best, significant, baseline)


def cell_of(line: Any) -> Cell:
    """Return the cell that a line of the summary is of."""
    return Cell(line.row, None if pd.isna(line.column) else line.column, line.fraction)


def interval(mean: float, low: float, high: float, sign: str = "", deviation: float = float("nan")) -> str:
    """Return `1.23 [1.10, 1.36]`; where there is no interval `1.23 ± 0.11`, or `1.23`."""
    if pd.isna(mean):
        return ""
    spread = "" if pd.isna(deviation) else f" ± {deviation:.2f}"
    bounds = spread if pd.isna(low) else f" [{low:{sign}.2f}, {high:{sign}.2f}]"
    return f"{mean:{sign}.2f}{bounds}"


def p_value(p: float, significant: bool) -> str:
    """Return `0.031 *`."""
    return "" if pd.isna(p) else f"{p:.3f}{' *' if significant else ''}"


def reached(line: Any, form: str, factor: float | int = 1, unit: str = "") -> str:
    """Return the median over seeds and how many came there: `300 (6 of 6)`, `not by half (2 of 6)`."""
    counted = f"({line.reached:.0f} of {line.seeds:.0f})"
    if np.isinf(line.median):
        return f"{'not by half' if line.reached else 'not reached'} {counted}"
    return f"{factor * line.median:{form}}{unit} {counted}"


def _starred(text: str, line: Any) -> str:
    return f"{text} *" if line.significant is True or line.significant == 1 else text


def _seeds(count: int) -> str:
    return f"{count} (few)" if count < FEW else str(count)


def write_tables(compared: Comparison, folder: Path) -> None:
    """Write `comparison.csv`, with all that was found, and what people read of it as `comparison.md` and `.tex`."""
    compared.summary.to_csv(folder / f"{files.COMPARISON}.csv", index=False)
    (folder / f"{files.COMPARISON}.md").write_text(markdown(compared))
    (folder / f"{files.COMPARISON}.tex").write_text(latex(compared))


def markdown(compared: Comparison) -> str:
    """Return the tables as Markdown, the best line in bold."""
    parts = []
    for shown in shown_tables(compared):
        lines = shown.lines.astype(str)
        if shown.best is not None:
            lines.iloc[shown.best] = [f"**{text}**" if text else text for text in lines.iloc[shown.best]]
        text = lines.map(_escaped).rename(columns=_escaped).to_markdown(index=False, disable_numparse=True)
        parts.append(f"**{shown.title}**\n\n{text}")
    parts.append("\n".join(f"- {note}" for note in [legend(compared), *compared.notes]))
    return "\n\n".join(parts) + "\n"


def _escaped(text: str) -> str:
    return text.replace(" *", " \\*", 1) if text.rstrip("*").endswith(" ") else text


def latex(compared: Comparison) -> str:
    """Return the tables as LaTeX, for the package booktabs, the best line in bold."""
    parts = []
    for shown in shown_tables(compared):
        style = shown.lines.map(_tex).rename(columns=_tex).style.hide(axis="index")
        if shown.best is not None:
            style = style.apply(
                lambda line, best=shown.best: ["textbf:--rwrap;" if line.name == best else "" for _ in line], axis=1
            )
        columns = "l" + "r" * (shown.lines.shape[1] - 1)
        parts.append(style.to_latex(caption=_tex(shown.title), hrules=True, column_format=columns))
    comments = "".join(f"% {note}\n" for note in [legend(compared), *compared.notes])
    return "\n".join(parts) + comments


_TEX = {"\\": r"\textbackslash{}", "%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#", "$": r"\$", "·": r"$\cdot$"}
_TEX |= {"<": "$<$", ">": "$>$", "−": "$-$", " *": r"$^*$", "{": r"\{", "}": r"\}"}


def _tex(text: str) -> str:
    star = text.endswith(" *")
    escaped = "".join(_TEX.get(sign, sign) for sign in (text[:-2] if star else text))
    return escaped + (_TEX[" *"] if star else "")


def print_comparison(compared: Comparison) -> None:
    """Print the tables and the notes."""
    for shown in shown_tables(compared):
        table = Table(Column(shown.lines.columns[0], no_wrap=True), *shown.lines.columns[1:], title=shown.title)
        for place, line in enumerate(shown.lines.itertuples(index=False)):
            table.add_row(*line, style="bold" if place == shown.best else None)
        show(table)
    print(f"{legend(compared)}.")
    for note in compared.notes:
        print(f"note: {note}")
