"""The programs of rwtl: a module for each, whose `main` both the command `rwtl` and the files in experiments/ call."""

import ast
from pathlib import Path

STAGES = ["simulate", "pretrain", "train", "evaluate", "compare"]  # which come first


def apps() -> dict[str, str]:
    """Return what each app does, by its name: the first line of its file, which is not imported."""
    files = {file.stem: file for file in Path(__file__).parent.glob("[!_]*.py")}
    names = [*STAGES, *sorted(files.keys() - STAGES)]
    return {name: ast.get_docstring(ast.parse(files[name].read_bytes())).splitlines()[0] for name in names}
