"""What is printed never ends the work: closed pipes, full devices, encodings without letters, names with markup."""

import ast
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from rich.table import Table
from tiny import ROOT, command, start

from rwtl import terminal
from rwtl.learning.evaluation import print_evaluation
from rwtl.learning.metrics import METRICS, pixels_of
from rwtl.progress import Progress, say
from rwtl.terminal import Lasting

SHAPES = ["recording=moving_shapes", "recording.rows=24", "recording.columns=24", "recording.duration=8"]
NAMES = ["a[/b]c", "[bold]x", "[link=file:///]y", ":smile:", "NA", "null", "$x", "[", "\\[", "[red]"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_printed_as_they_stand(name, capsys):
    numbers = dict.fromkeys([*METRICS, "no_motion"], 1.0)
    pixels = {pixels_of(metric): 4 for metric in METRICS}
    errors = pd.DataFrame([{"dataset": name, "pair": name, **pixels, **numbers}])
    print_evaluation(errors)
    assert capsys.readouterr().out.count(name) == 3
    table = Table(name, title=name)
    table.add_row(name)
    terminal.show(table)
    terminal.console().print(name)
    assert capsys.readouterr().out.count(name) == 4


def test_only_one_module_decides_how_rich_reads_texts():
    for file in (ROOT / "rwtl").rglob("*.py"):
        if file.name != "terminal.py":
            content = file.read_text(encoding="utf-8")
            assert "rich.markup" not in content and "import Console" not in content


@pytest.mark.parametrize("error", [BrokenPipeError(32, "x"), OSError(28, "x"), OSError(5, "x"), OSError(9, "x")])
def test_a_stream_that_fails_is_done_without(error):
    reading, writing = os.pipe()
    stream = os.fdopen(writing, "w")
    os.close(reading)
    lasting = Lasting(stream)
    real = stream.buffer.raw
    assert lasting.write("a line\n") == 7
    lasting.flush()
    lasting.write("more\n")
    lasting.flush()
    assert os.readlink(f"/proc/self/fd/{real.fileno()}") == os.devnull
    failing = StringIO()
    failing.write = lambda text: (_ for _ in ()).throw(error)
    Lasting(failing).write("x")


def test_a_full_device_takes_nothing_and_ends_nothing():
    with open("/dev/full", "w") as full:
        lasting = Lasting(full)
        for _ in range(3):
            lasting.write("x" * 10_000)
            lasting.flush()


def test_letters_that_an_encoding_lacks_are_written_otherwise(tmp_path):
    with open(tmp_path / "log", "w", encoding="ascii") as file:
        Lasting(file).write("96 × 96 cells, \udcff\n")
    assert (tmp_path / "log").read_text() == "96 \\xd7 96 cells, \\udcff\n"


@pytest.mark.parametrize("stream", ["closed", "ascii", "full"])
def test_progress_goes_on_whatever_becomes_of_its_lines(stream, monkeypatch, tmp_path):
    files = {
        "closed": StringIO(),
        "ascii": open(tmp_path / "log", "w", encoding="ascii"),
        "full": open("/dev/full", "w"),
    }
    files["closed"].close()
    monkeypatch.setattr(sys, "stderr", files[stream])
    say("µm")
    Progress("µ × write", 2, "steps", interval=0)(2)
    monkeypatch.undo()
    for name in ("ascii", "full"):
        try:
            files[name].close()
        except OSError:
            pass


@pytest.mark.slow
@pytest.mark.parametrize(
    "executor", [[], ["-m", "recording.seed=1,2", "executor=processes"]], ids=["inline", "processes"]
)
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_full_device_as_output_costs_no_recording(tmp_path, executor, stream):
    full = os.open("/dev/full", os.O_WRONLY)
    job = start("simulate", tmp_path, *executor, *SHAPES, **{stream: full})
    _, errors = job.communicate(timeout=300)
    os.close(full)
    assert job.returncode == 0 and "Traceback" not in errors and "Exception ignored" not in errors, errors
    made = list(tmp_path.glob("recording/*/status.json"))
    assert made and all('"complete"' in file.read_text() for file in made)


@pytest.mark.slow
def test_a_locale_of_ascii_costs_no_recording(tmp_path):
    """A process from nothing, for Python chooses encodings as it starts."""
    ascii_locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment = {name: value for name, value in os.environ.items() if name not in ("LANG", "PYTHONIOENCODING")}
    line = command("simulate", tmp_path, *SHAPES)
    done = subprocess.run(line, env=environment | ascii_locale, capture_output=True, timeout=300, cwd=ROOT)
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr.decode()
    assert b"\\xb5m apart" in done.stdout
    (made,) = tmp_path.glob("recording/*/statistics.txt")
    assert "µm apart" in made.read_text(encoding="utf-8")


def _texts(file):
    """The calls that read or write text without an encoding."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or any(each.arg == "encoding" for each in node.keywords):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        mode = next((each.value for each in node.args[1:2] if isinstance(each, ast.Constant)), "r")
        if name in ("read_text", "write_text") or (
            name == "open" and isinstance(node.func, ast.Name) and "b" not in mode
        ):
            yield node.lineno


def test_text_is_read_and_written_as_utf_8_whatever_the_locale():
    for file in (ROOT / "rwtl").rglob("*.py"):
        if file.name != "claim.py":  # which knows ASCII alone
            assert not list(_texts(file)), f"{Path(file).relative_to(ROOT)}: lines {list(_texts(file))}"
