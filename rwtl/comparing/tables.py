"""The tables of evaluations and comparisons as people read them: on the terminal, in Markdown and in LaTeX."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from rwtl import files
from rwtl.comparing.analysis import Comparison
from rwtl.comparing.measures import COST, STEPS, VALIDATION, Cell
from rwtl.comparing.summary import DATA, FEW
from rwtl.learning.evaluation import HEADINGS
from rwtl.learning.metrics import SPEEDS
from rwtl.terminal import INTERVALS, number, show, tell

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
    validation = whole[whole.dataset == VALIDATION]
    is_steps = validation.measure.str.startswith(STEPS)
    tables = [
        *compared.evaluations(),
        ("Training, on validation", pd.concat([validation[~is_steps], validation[is_steps]])),
        ("Data needed", summary[summary.measure.str.startswith(DATA)]),
        ("Wall time of a run", whole[whole.dataset == COST]),
    ]
    return [_shown(title, own, compared) for title, own in tables if len(own)]


def _shown(title: str, own: pd.DataFrame, compared: Comparison) -> Shown:
    """Return a table of lines of the summary, with a line for each cell."""
    metric, beside = compared.config.metric, own.pairs.any()
    columns: dict[str, dict[Cell, str]] = {}
    for line in own.itertuples():
        for heading, text in _texts(line, compared, beside).items():
            columns.setdefault(heading, {})[Cell.of(line)] = text
    cells = list(dict.fromkeys(cell for texts in columns.values() for cell in texts))
    table = {heading: [texts.get(cell, "") for cell in cells] for heading, texts in columns.items()}
    ranked = own[own.measure.isin([metric, "final"])].dropna(subset="mean")
    means = {Cell.of(line): line.mean for line in ranked.itertuples()}
    best = (min if compared.config.lower_is_better else max)(means, key=means.get, default=None)
    stars = [Cell.of(line) for line in own[own.significant & (own.measure == metric)].itertuples()]
    return Shown(
        title,
        pd.DataFrame({"condition": [cell.name for cell in cells]} | table),
        cells.index(best) if best is not None and len(cells) > 1 else None,
        [cell in stars for cell in cells],
        [place for place, cell in enumerate(cells) if compared.baseline.is_baseline(cell)],
    )


def _texts(line: Any, compared: Comparison, beside: bool) -> dict[str, str]:
    """Return what tables say of a line of the summary, by heading; `beside` where any in the table has a difference."""
    unit, star = UNITS[compared.config.metric], " *" if line.significant else ""
    if line.measure == compared.config.metric:
        seeds = f"{line.seeds} (few)" if line.seeds < FEW else str(line.seeds)
        texts = {"seeds": seeds, unit: interval(line.mean, line.low, line.high, "", line.sd) or "nan"}
        not_known = "nan" if line.pairs else ""  # of a run that diverged, or of one that has none beside it
        of_difference = {
            "difference": interval(line.difference, line.difference_low, line.difference_high, "+") or not_known,
            "%": number(100 * line.relative, "+.1f"),
            "g": number(line.effect_size, "+.2f"),
            "p": f"{number(line.p_corrected, '.3f')}{star}",
            "needed": number(line.seeds_needed, ".0f"),
        }
        return texts | of_difference if beside else texts
    if line.measure.startswith(DATA):
        at_most = "≤ " if line.median <= min(cell.fraction for cell in compared.all_cells) else ""
        heading = f"{line.dataset}: {line.measure.removeprefix(DATA)}"
        return {heading: f"{at_most}{reached(line, '.2g', 100, ' %')}{star}"}
    if line.measure.startswith(STEPS):
        is_met = any(limit.met_untrained for limit in compared.thresholds if line.measure == f"{STEPS}{limit.name}")
        return {line.measure: "met untrained" if is_met else f"{reached(line, '.0f')}{star}"}
    if line.dataset == COST:
        return {line.measure: number(line.mean, ".0f")}
    return {f"final {unit}" if line.measure == "final" else line.measure: f"{line.mean:.2f}{star}"}


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


def write_tables(compared: Comparison, folder: Path) -> None:
    """Write `comparison.csv`, with all that was found, and what people read of it as `comparison.md` and `.tex`."""
    compared.summary.to_csv(folder / f"{files.COMPARISON}.csv", index=False)
    (folder / f"{files.COMPARISON}.md").write_text(markdown(compared), encoding="utf-8")
    (folder / f"{files.COMPARISON}.tex").write_text(latex(compared), encoding="utf-8")


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
        table = Table(*shown.lines.columns, title=shown.title)
        for place, line in enumerate(shown.lines.itertuples(index=False)):
            table.add_row(*line, style="bold" if place == shown.best else None)
        show(table, ("g", "%", "needed", INTERVALS, "seeds"), f"{files.COMPARISON}.csv")
    tell(f"{legend(compared)}.")
    for note in compared.notes:
        tell(f"note: {note}")
