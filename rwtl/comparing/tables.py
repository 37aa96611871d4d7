"""The tables of evaluations and comparisons as people read them: on the terminal, in Markdown and in LaTeX."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Column, Table

from rwtl import files
from rwtl.comparing.analysis import Comparison
from rwtl.comparing.measures import COST, STEPS, VALIDATION, Cell
from rwtl.comparing.summary import DATA, FEW
from rwtl.learning.evaluation import HEADINGS
from rwtl.learning.metrics import SPEEDS
from rwtl.terminal import number, show

UNITS = HEADINGS | {speed: f"{HEADINGS[speed]} px" for speed in SPEEDS}


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
    summary = compared.summary
    whole = summary[summary.fraction == compared.most]
    tables = [_errors(title, own, compared) for title, own in compared.evaluations()]
    tables.append(_training(whole[whole.dataset == VALIDATION], compared))
    if len(needed := summary[summary.measure.str.startswith(DATA)]):
        tables.append(_data(needed, compared))
    if len(cost := whole[whole.dataset == COST]):
        groups = cost.groupby("measure", sort=False)
        columns = {measure: (lines, lambda line: number(line.mean, ".0f")) for measure, lines in groups}
        tables.append(_shown("Wall time of a run", columns, compared))
    return tables


Columns = dict[str, tuple[pd.DataFrame, Callable[[Any], str]]]  # by heading: lines of the summary, and a line's text


def _errors(title: str, own: pd.DataFrame, compared: Comparison) -> Shown:
    texts: dict[str, Callable[[Any], str]] = {
        "seeds": lambda line: f"{line.seeds} (few)" if line.seeds < FEW else str(line.seeds),
        UNITS[compared.config.metric]: lambda line: interval(line.mean, line.low, line.high, "", line.sd),
    }
    if own.pairs.any():
        texts |= {
            "difference": lambda line: interval(line.difference, line.difference_low, line.difference_high, "+"),
            "%": lambda line: number(100 * line.relative, "+.1f"),
            "g": lambda line: number(line.effect_size, "+.2f"),
            "p": lambda line: _starred(number(line.p_corrected, ".3f"), line),
            "needed": lambda line: number(line.seeds_needed, ".0f"),
        }
    return _shown(title, {heading: (own, text) for heading, text in texts.items()}, compared, own, own)


def _training(own: pd.DataFrame, compared: Comparison) -> Shown:
    of_measure = dict(list(own.groupby("measure", sort=False)))
    headings = {"final": f"final {UNITS[compared.config.metric]}", "best": "best", "area": "area"}
    columns: Columns = {
        heading: (of_measure[measure], lambda line: _starred(number(line.mean, ".2f"), line))
        for measure, heading in headings.items()
        if measure in of_measure
    }
    met = {f"{STEPS}{limit.name}" for limit in compared.thresholds if limit.met_untrained}
    for measure, lines in of_measure.items():
        if measure in met:
            columns[measure] = lines, lambda _: "met untrained"
        elif measure.startswith(STEPS):
            columns[measure] = lines, lambda line: _starred(reached(line, ".0f"), line)
    return _shown("Training, on validation", columns, compared, of_measure.get("final"))


def _data(own: pd.DataFrame, compared: Comparison) -> Shown:
    least = min(cell.fraction for cell in compared.all_cells)

    def text(line: Any) -> str:
        return _starred(("≤ " if line.median <= least else "") + reached(line, ".2g", 100, " %"), line)

    groups = own.groupby(["dataset", "measure"], sort=False)
    columns = {f"{dataset}: {measure.removeprefix(DATA)}": (lines, text) for (dataset, measure), lines in groups}
    return _shown("Data needed", columns, compared)


def _shown(
    title: str,
    columns: Columns,
    compared: Comparison,
    ranked: pd.DataFrame | None = None,
    tested: pd.DataFrame | None = None,
) -> Shown:
    """Return a table of a line for each cell.

    Args:
        title: what it is of.
        columns: beside that of the conditions.
        compared: says what the baseline is, and whether less is better.
        ranked: lines of the summary of whose means one is best; None where a table ranks nothing.
        tested: those whose significance is that of a whole line of the table, if any.
    """
    by_heading = {
        heading: {Cell.of(line): text(line) for line in own.itertuples()} for heading, (own, text) in columns.items()
    }
    cells = list(dict.fromkeys(cell for texts in by_heading.values() for cell in texts))
    table = {heading: [texts.get(cell, "") for cell in cells] for heading, texts in by_heading.items()}
    means = {} if ranked is None else {Cell.of(line): line.mean for line in ranked.dropna(subset="mean").itertuples()}
    best = (min if compared.config.lower_is_better else max)(means, key=means.get, default=None)
    stars = [] if tested is None else [Cell.of(line) for line in tested[tested.significant].itertuples()]
    return Shown(
        title,
        pd.DataFrame({"condition": [cell.name for cell in cells]} | table),
        cells.index(best) if best is not None and len(cells) > 1 else None,
        [cell in stars for cell in cells],
        [place for place, cell in enumerate(cells) if compared.baseline.is_baseline(cell)],
    )


def interval(mean: float, low: float, high: float, sign: str = "", deviation: float = float("nan")) -> str:
    """Return `1.23 [1.10, 1.36]`; where there is no interval `1.23 ± 0.11`, or `1.23`."""
    if pd.isna(mean):
        return ""
    spread = "" if pd.isna(deviation) else f" ± {deviation:.2f}"
    bounds = spread if pd.isna(low) else f" [{low:{sign}.2f}, {high:{sign}.2f}]"
    return f"{mean:{sign}.2f}{bounds}"


def reached(line: Any, form: str, factor: float | int = 1, unit: str = "") -> str:
    """Return the median over seeds and how many came there: `300 (6 of 6)`, `not by half (2 of 6)`."""
    counted = f"({line.reached:.0f} of {line.seeds:.0f})"
    if np.isinf(line.median):
        return f"{'not by half' if line.reached else 'not reached'} {counted}"
    return f"{factor * line.median:{form}}{unit} {counted}"


def _starred(text: str, line: Any) -> str:
    return f"{text} *" if line.significant else text


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
            style = style.set_properties(subset=pd.IndexSlice[[shown.best], :], textbf="--rwrap")
        columns = "l" + "r" * (shown.lines.shape[1] - 1)
        parts.append(style.to_latex(caption=_tex(shown.title), hrules=True, column_format=columns))
    comments = "".join(f"% {note}\n" for note in [legend(compared), *compared.notes])
    return "\n".join(parts) + comments


_TEX = {"\\": r"\textbackslash{}", "%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#", "$": r"\$", "·": r"$\cdot$"}
_TEX |= {"<": "$<$", ">": "$>$", "−": "$-$", "{": r"\{", "}": r"\}"}


def _tex(text: str) -> str:
    return text.removesuffix(" *").translate(str.maketrans(_TEX)) + ("$^*$" if text.endswith(" *") else "")


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
