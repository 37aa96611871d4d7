"""Tables on the terminal."""

import sys

import pandas as pd
from rich.console import Console
from rich.table import Column, Table

from rwtl.study.evaluation import pooled
from rwtl.training.metrics import ACCURACY, METRICS

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
                table.add_row(dataset, row.pair, *(_number(row[column]) for column in columns))
    for _, row in pooled(errors).iterrows():
        of_all = (*columns, "epe_of_pairs")
        table.add_row(row.dataset, f"all {row.pairs}", *(_number(row[column]) for column in of_all), style="bold")
    _console().print(table)


def _number(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:.2f}"


def _console() -> Console:
    """A console wide enough for a table in a log file, where there is no terminal to ask."""
    return Console(width=None if sys.stdout.isatty() else 120)


def mean_and_deviation(mean: float, deviation: float, digits: int = 2) -> str:
    """Return `1.23 ± 0.04`, or `1.23 (one seed)` where there is no deviation."""
    return f"{mean:.{digits}f}" + (" (one seed)" if pd.isna(deviation) else f" ± {deviation:.{digits}f}")


def steps_reached(line: pd.Series) -> str:
    """Return in how many steps, and for how many seeds, a row came to the baseline's final EPE."""
    if line.seeds_reached == 0:
        return "not reached"
    return f"{line.steps_to_threshold:.0f} ({line.seeds_reached} of {line.seeds} seeds)"


def print_comparison(table: pd.DataFrame) -> None:
    """Print what rows differ in, and the comparison: mean ± standard deviation over seeds for each row and data set."""
    for row, differs_in in table.groupby("row", sort=False).differs_in.first().items():
        if differs_in:
            print(f"  {row}: {differs_in}")
    threshold = table.threshold_px.iloc[0]
    for dataset, lines in table.groupby("dataset", sort=False):
        title = f"{dataset}: mean ± sd over seeds; predicting no motion has EPE {lines.no_motion.iloc[0]:.2f} px"
        headings = (*HEADINGS.values(), f"steps to {threshold:.2f} px")
        shown = Table(Column("condition", no_wrap=True), *headings, title=title)
        for _, line in lines.iterrows():
            errors = (mean_and_deviation(line[f"{metric}_mean"], line[f"{metric}_sd"]) for metric in ACCURACY)
            shown.add_row(line.row, *errors, steps_reached(line))
        _console().print(shown)
