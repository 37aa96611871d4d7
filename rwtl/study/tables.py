"""Tables on the terminal."""

import sys

import pandas as pd
from rich.console import Console
from rich.table import Column, Table

from rwtl.study.evaluation import pooled
from rwtl.training.metrics import METRICS

HEADINGS = {"epe": "EPE px", "1px": "< 1 px %", "3px": "< 3 px %", "5px": "< 5 px %"}
FURTHER = {"fl_all": "Fl-all %", "s0_10": "s0-10", "s10_40": "s10-40", "s40": "s40+"}
NO_MOTION = "no motion px"
OF_PAIRS = "pairs' EPE px"
LISTED_PAIRS = 12
WIDTH = 140  # of a table in a log file, where there is no terminal to ask


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
    console().print(table)


def _number(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:.2f}"


def console() -> Console:
    """Return a console as wide as the terminal, or as a log file may be."""
    return Console(width=None if sys.stdout.isatty() else WIDTH)
