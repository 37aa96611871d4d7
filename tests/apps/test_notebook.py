"""The notebook runs from its first cell to its last, and the outputs that the site shows are those of these cells."""

import nbclient
import nbformat
import pytest
from tiny import ROOT

FILE = ROOT / "docs" / "notebook.ipynb"


def texts(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


def pictures(notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [cell.id for cell in cells if any("image/png" in output.get("data", {}) for output in cell.outputs)]


@pytest.mark.slow
def test_the_notebook_runs_and_is_kept_as_it_ran(tmp_path):
    kept = nbformat.read(FILE, as_version=4)
    ran = nbformat.read(FILE, as_version=4)
    nbclient.NotebookClient(ran, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert pictures(ran) == pictures(kept) and len(pictures(kept)) == 3
    streams = {
        output.get("name") for notebook in (ran, kept) for cell in notebook.cells for output in cell.get("outputs", [])
    }
    assert "stderr" not in streams, "a warning, and with it a path of the machine that it ran on"
    plan = next(number for number, cell in enumerate(ran.cells) if "run.ancestors()" in cell.source)
    assert texts(kept.cells[plan]) == texts(ran.cells[plan]), "not executed since something changed: make notebook"
    assert len(list(tmp_path.glob("outputs/notebook/comparison/*/report.html"))) == 1
    assert "freeze_encoder" in ran.cells[-1].outputs[-1]["data"]["text/plain"]
