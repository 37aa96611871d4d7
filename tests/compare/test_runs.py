"""Parts of a comparison that are made side by side."""

import os
from pathlib import Path

from rwtl.compare.make import make_side_by_side
from rwtl.errors import InputError
from rwtl.pipeline.artifact import build


def make(outputs: Path, name: str) -> tuple[Path, int]:
    """Make an artifact, and say in which process."""
    if name == "bad":
        raise InputError("bad is no name; choose another")
    made = build(outputs, "training", name, {"name": name}, lambda folder: (folder / "name").write_text(name))
    return made.path, os.getpid()


def side_by_side(outputs, *names):
    return make_side_by_side("part", make, {name: (outputs, name) for name in names}, 2)


def test_what_is_made_is_looked_up_here_and_the_rest_is_made_elsewhere_in_order(tmp_path, capfd):
    first, failures = side_by_side(tmp_path, "one", "bad")
    path, process = first["one"]
    assert process != os.getpid() and str(failures["bad"]) == "bad is no name; choose another"

    made, failures = side_by_side(tmp_path, "two", "one", "bad")
    assert list(made) == ["two", "one"] and list(failures) == ["bad"]
    assert made["one"] == (path, os.getpid()) and made["two"][1] != os.getpid()
    assert (made["two"][0] / "name").read_text() == "two"
    assert "  part 1 of 3, one, finished\n" in capfd.readouterr().out
