import os
import pty

import numpy as np
from rich.table import Table

from rwtl import terminal


def _table():
    table = Table("wide")
    table.add_row("x" * 150)
    return table


def test_a_table_in_a_log_is_as_wide_as_it_needs_up_to_160_characters(tmp_path, capsys):
    terminal.show(_table())
    assert "x" * 150 in capsys.readouterr().out
    with open(tmp_path / "log", "w") as file:
        terminal.console(file).print(Table("x" * 200))
    assert 160 == max(map(len, (tmp_path / "log").read_text().splitlines()))


def test_a_table_on_a_terminal_is_as_wide_as_that(monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")
    reading, writing = pty.openpty()
    with open(writing, "w") as file:
        assert terminal.console(file).width == 90
        monkeypatch.setattr("sys.stdout", file)
        assert terminal.console().width == 90
    os.close(reading)


def test_a_table_goes_nowhere_where_the_standard_output_is_closed(monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    terminal.show(Table("x"))


def test_numbers_that_are_missing_are_said_so():
    assert terminal.number(1.234, "+.1f") == "+1.2" and terminal.number(np.float64(40), ".0f") == "40"
    assert terminal.number(float("nan"), ".2f") == "" and terminal.number(None, ".2f", "-") == "-"
