"""Tables at any width: numbers are whole, rows stay distinct, and what is left out is said."""

import random
import re
from types import SimpleNamespace

import pandas as pd
import pytest
from known_runs import compared, study
from rich.table import Column, Table

from rwtl import terminal
from rwtl.comparing.tables import print_comparison
from rwtl.learning.evaluation import print_evaluation
from rwtl.learning.metrics import METRICS, pixels_of
from rwtl.pipeline.artifact import Artifact, build
from rwtl.sweeps.jobs import Job, print_jobs
from rwtl.sweeps.preview import preview
from rwtl.sweeps.scheduler import Outcome, Outcomes
from rwtl.sweeps.status import entries_of, print_entries
from rwtl.sweeps.view import print_outcomes
from rwtl.terminal import INTERVALS, fitted, show, show_frame

WIDTHS = (80, 100, 120, 200)
STRATEGIES = ["scratch", "freeze_none", "freeze_encoder", "freeze_batchnorm", "freeze_encoder_batchnorm"]
NUMBERS = re.compile(r"-?\d+\.\d+")


def artifacts(outputs):
    return [
        build(
            Artifact("training", f"training {name} seed {seed}", {"a": name, "s": seed}, lambda folder: None, outputs)
        )
        for name in STRATEGIES
        for seed in (1, 2)
    ]


def of_comparison(tmp_path):
    print_comparison(compared(study()))


def of_evaluation(tmp_path):
    numbers = {metric: 100 + number / 7 for number, metric in enumerate([*METRICS, "no_motion"])}
    rows = [
        {"dataset": data, "pair": f"frame_{pair:06d}", **dict.fromkeys(map(pixels_of, METRICS), 9), **numbers}
        for data in ("sintel_clean", "flying_chairs_validation")
        for pair in range(3)
    ]
    print_evaluation(pd.DataFrame(rows))


def of_status(tmp_path):
    artifacts(tmp_path)
    print_entries(entries_of(tmp_path))


def of_outcomes(tmp_path):
    made = artifacts(tmp_path)[:6]
    print_outcomes("compare", [Outcome(each, "failed", "the loss is nan at step 10; lower it", 3.0) for each in made])


def of_jobs(tmp_path):
    jobs = [Job(number, [f"transfer={each.label.split()[1]}"], each) for number, each in enumerate(artifacts(tmp_path))]
    outcomes = Outcomes({job.artifact.path: Outcome(job.artifact, "done", "", 61.0) for job in jobs})
    print_jobs("sweep", jobs, outcomes, {job.number: 1.2345 + job.number for job in jobs})


def of_preview(tmp_path):
    jobs = [Job(number, [], each) for number, each in enumerate(artifacts(tmp_path))]
    preview(SimpleNamespace(jobs=jobs, cfg=None, executor=lambda: SimpleNamespace(close=lambda: None)))


def of_frame(tmp_path):
    frame = pd.DataFrame({"data set": STRATEGIES} | {f"quantile {q} px": [q / 3] * 5 for q in range(12)})
    show_frame(frame, ".3f", where="displacements.csv")


TABLES = [of_comparison, of_evaluation, of_status, of_outcomes, of_jobs, of_preview, of_frame]


def printed(monkeypatch, capsys, width, make, *given):
    monkeypatch.setenv("COLUMNS", str(width))
    capsys.readouterr()
    make(*given)
    return capsys.readouterr().out


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("make", TABLES, ids=lambda make: make.__name__)
def test_every_table_fits_and_cuts_no_number(make, width, tmp_path, monkeypatch, capsys):
    wide = printed(monkeypatch, capsys, 400, make, tmp_path)
    said = printed(monkeypatch, capsys, width, make, tmp_path)
    in_table = [line for line in said.splitlines() if line[:1] in "│┃└┏┡"]
    assert in_table and all(len(line) <= width for line in in_table) and "…" not in said.replace("seed…", "")
    assert set(NUMBERS.findall(said)) <= set(NUMBERS.findall(wide))
    if set(NUMBERS.findall(said)) != set(NUMBERS.findall(wide)):
        assert f"left out at {width} columns: " in said
    if make in (of_status, of_preview):  # the four strategies are told apart, though over several lines
        text = re.sub(r"[\s│]", "", "".join(line for line in in_table if line.startswith("│")))
        assert all(name.replace("_", "") in text.replace("_", "") or width == 80 for name in STRATEGIES)


def test_the_headline_of_a_comparison_has_its_numbers_at_80_columns(monkeypatch, capsys):
    said = printed(monkeypatch, capsys, 80, of_comparison, None)
    assert "left out at 80 columns: g, %, needed; all is in comparison.csv" in said
    assert "3.76 [3.08, 4.44] │ -1.01 [-1.04, -0.98] │ 0.031 *" in said
    narrow = printed(monkeypatch, capsys, 60, of_comparison, None)
    assert "g, %, needed, intervals" in narrow and "[3.08" not in narrow and "-1.01" in narrow


def test_any_table_of_numbers_keeps_those_that_it_shows_whole():
    rng = random.Random(0)
    for _ in range(200):
        count = rng.randint(2, 14)
        table = Table("name", *(Column(f"column {number} px", justify="right") for number in range(count)), title="t")
        rows = [
            [
                f"{rng.choice(STRATEGIES)}_{row}",
                *(f"{rng.uniform(-1e4, 1e4):.{rng.randint(0, 6)}f}" for _ in range(count)),
            ]
            for row in range(4)
        ]
        for row in rows:
            table.add_row(*row)
        width = rng.randint(40, 200)
        shown, gone = fitted(table, width)
        kept = [number for number, column in enumerate(table.columns) if column.header not in gone]
        out = terminal.console()
        out.width = width
        with out.capture() as capture:
            out.print(shown)
        lines = capture.get().splitlines()
        assert all(len(line) <= width for line in lines)
        for row in rows:
            assert all(any(row[number] in line for line in lines) for number in kept[1:])


def test_what_is_least_important_goes_first():
    table = Table("name", "a", "b", "c")
    table.add_row("row", "1.0 [0.5, 1.5]", "22222222", "33333333")
    assert fitted(table, 80)[1] == []
    assert fitted(table, 40, ["b", INTERVALS])[1] == ["b"]
    assert fitted(table, 25, ["b", INTERVALS])[1] == ["b", INTERVALS]
    assert fitted(table, 20, ["b", INTERVALS])[1] == ["b", INTERVALS, "c"]


def test_a_column_without_a_word_goes_without_a_word(monkeypatch, capsys):
    table = Table("name", "note", "number")
    table.add_row("x" * 30, "", "1" * 40)
    monkeypatch.setenv("COLUMNS", "65")
    show(table)
    assert "note" not in capsys.readouterr().out
