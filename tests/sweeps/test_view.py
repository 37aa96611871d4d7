"""How the making of many artifacts looks on a terminal."""

import os
import pty
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from test_multirun import SOURCE
from tiny import start

from rwtl.sweeps.view import BAR

WIDTH = 150


def shown_to(terminal):
    """All that is written to a terminal until nobody has it open any more."""
    said = b""
    while True:
        try:
            read = os.read(terminal, 2**16)
        except OSError:  # which is the end of a terminal
            read = b""
        if not read:
            return said.decode()
        said += read


def screen(said):
    """The lines that are left on an endless screen, where a program moves its cursor up and erases lines."""
    lines, row, column = [""], 0, 0
    for control, direction, text in re.findall(r"\x1b\[([0-9;?]*)([A-Za-z])|([^\x1b]+)", said):
        if direction == "A":
            row -= int(control or 1)
        elif direction == "K":
            lines[row] = ""
        for part in re.findall(r"\r|\n|[^\r\n]+", text):
            if part == "\r":
                column = 0
            elif part == "\n":
                row += 1
                lines += [""] * (row == len(lines))
            else:
                lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
                column += len(part)
    return [line.rstrip() for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_a_terminal_shows_what_runs_and_how_long_it_takes_and_keeps_whole_lines(executor, tmp_path):
    """The second of three pre-trainings fails: dt 99 s is longer than the recording. Results go into a file."""
    reading, writing = pty.openpty()
    line = ["-m", *SOURCE, "pretraining.steps=200", "clips.dt=0.2,99,0.4", "sweep=mine", f"executor={executor}"]
    environment = os.environ | {"COLUMNS": str(WIDTH), "TERM": "xterm"}
    with ThreadPoolExecutor(1) as reader:
        job = start("pretrain", tmp_path, *line, env=environment, stderr=writing)
        os.close(writing)
        said = reader.submit(shown_to, reading)
        results, _ = job.communicate(timeout=300)
        said = said.result()
    os.close(reading)
    assert job.returncode == 1
    digests = [folder.name for folder in tmp_path.glob("pretraining/*")]
    row = r"│ pretraining +│ (\w+) +│ (\d+)/200 steps +│ +\d:\d\d │ +\d:\d\d │ (━*) +│ (loss [\d.]+)? "
    running = re.findall(row, said)
    assert {digest for digest, *_ in running} <= set(digests) and len({digest for digest, *_ in running}) == 2
    assert all(len(bar) == int(steps) * BAR // 200 for _, steps, bar, _ in running)
    assert any(loss for *_, loss in running)
    assert "sweep mine: 1 done, " in said and re.search(r" · about \d:\d\d left", said)

    left = screen(said)
    assert max(map(len, left)) <= WIDTH
    assert not [each for each in left if re.search(r"\d+/\d+ (steps|frames)", each)], "the table shows the progress"
    assert not [each for each in left if " running " in each or "since" in each], "the live table is gone"
    text = "\n".join(left)
    made = ["recording of moving shapes: making", *["pretraining: making"] * 3]
    assert re.findall(r"^(.*: making) /", text, re.MULTILINE) == made
    assert len(re.findall(r"^sweep mine: \d of 4 · .* done in \d:\d\d", text, re.MULTILINE)) == 3
    (error,) = re.findall("^error: .*", text, re.MULTILINE)
    assert error.startswith("error: pretraining: a clip of 3 frames at dt 99.0 s ")
    assert "2 done, 1 failed" in results.splitlines()
    assert "\x1b" not in results and "making" not in results and " · " not in results
