"""A comparison of real runs: made by its section, read back from wherever they are, and shown in a browser."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wandb_server
from damage import damage
from debian import provide
from tiny import ROOT, TINY, run
from wandb_server import WandbServer

from rwtl.comparing.analysis import analyse, cells_by_axes
from rwtl.comparing.measures import AnalysisConfig
from rwtl.comparing.runs import find_runs
from rwtl.errors import InputError
from rwtl.pipeline.status import FORMAT
from rwtl.tracking.read_back import by_own_names, read_runs
from rwtl.tracking.tracker import named

ROWS = [
    "comparison.rows=[scratch,freeze_none]",
    "comparison.column=clips.dt",
    "comparison.column_values=[0.2,0.5]",
    "comparison.fractions=[0.5]",
    "comparison.fraction_rows=[scratch,freeze_none dt 0.5]",
    "comparison.seeds=[1,2]",
    "executor=inline",
    "logger=wandb",
]
pytestmark = pytest.mark.usefixtures("wandb_read_once")
CELLS = {"scratch": 2, "freeze_none · dt 0.2": 1, "freeze_none · dt 0.5": 2}  # and how many fractions each has


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    return tmp_path_factory.mktemp("compare") / "outputs"


@pytest.fixture(scope="module")
def made(outputs):
    done = run("compare", outputs, TINY, *ROWS)
    assert done.returncode == 0, done.stderr
    (folder,) = (outputs / "comparison").glob("*/")
    return done.stderr + done.stdout, folder


def read(*sources, rows=("transfer",), columns="clips.dt"):
    runs = find_runs(*sources)
    cells = cells_by_axes(runs, list(rows), columns)
    return analyse(runs, cells, None, AnalysisConfig(), runs.notes)


def test_what_was_made_is_compared(made):
    said, folder = made
    assert (
        "training freeze_none · dt 0.5 · 50 % of data seed 2 done" in said
        and "note: 5 of 5 conditions have few" in said
    )
    table = pd.read_csv(folder / "runs.csv")
    counted = table[table.measure == "epe"].groupby(["row", "column", "fraction"], dropna=False).seed.nunique()
    assert len(counted) == sum(CELLS.values()) and (counted == 2).all()
    assert set(table.column.dropna()) == {"dt 0.2", "dt 0.5"}
    curves = pd.read_csv(folder / "curves.csv")
    assert set(curves.step) == {0, 2, 4} and len(curves) == 3 * 2 * sum(CELLS.values())
    assert "| freeze_none · dt 0.5 |" in (folder / "comparison.md").read_text().replace("**", "")
    assert r"freeze\_none $\cdot$ dt 0.5" in (folder / "comparison.tex").read_text()


def test_reading_the_runs_back_says_the_same(made, outputs):
    expected = pd.read_csv(made[1] / "comparison.csv").set_index(["dataset", "measure", "row", "column", "fraction"])
    for source in ("training/*", "evaluation/*", f"comparison/{made[1].name}"):
        found = read(outputs / source).summary.set_index(list(expected.index.names))
        assert set(found.index) == set(expected.index)
        for column in ("mean", "difference", "p_corrected"):
            pd.testing.assert_series_equal(
                found[column].sort_index(), expected[column].sort_index(), check_index_type=False, check_index=False
            )


def test_a_sweep_is_a_source_and_the_command_line_reads_it(made, outputs):
    swept = run("train", outputs, "-m", TINY, "transfer=scratch,freeze_none", "seed=1,2", "sweep=both")
    assert "4 reused" in swept.stdout, swept.stdout + swept.stderr
    done = run("compare", outputs, f"runs={outputs}/sweeps/both", "rows=transfer", "columns=clips.dt")
    assert done.returncode == 0, done.stderr
    assert "freeze_none · dt 0.5" in done.stdout and "dt 0.2" not in done.stdout and "report: " in done.stdout


def test_wandbs_runs_are_read_and_counted_once(made, outputs):
    alone = read(outputs / "wandb")
    assert len(alone.runs) == 2 * sum(CELLS.values()) and all(run.folder is None for run in alone.runs.values())
    artifacts = read(outputs / "training" / "*")
    for measure in ("final", "area"):
        one, other = (each.summary[each.summary.measure == measure]["mean"] for each in (alone, artifacts))
        np.testing.assert_allclose(sorted(one), sorted(other), rtol=1e-5)
    both = read(outputs / "wandb", outputs / "training" / "*")
    assert both.runs.keys() == artifacts.runs.keys()
    assert all(run.folder is not None for run in both.runs.values()), "what the artifact says counts"


def test_runs_on_wandbs_server_are_those_of_the_folder(made, outputs, monkeypatch):
    kept = [run for run in read_runs(outputs / "wandb", []) if run.job_type == "training"]
    names = ["step", "epe", "1px", "3px", "5px", "fl_all"]
    rows = {run.id: by_own_names(run.history).dropna(subset=["epe"])[names] for run in kept}
    logged = {run.id: rows[run.id].rename(columns=named(names)).to_dict("records") for run in kept}
    told = [(run.id, run.job_type, run.config, logged[run.id]) for run in kept]
    server = WandbServer()
    monkeypatch.setattr(
        wandb_server, "ANSWERS", wandb_server.ANSWERS | wandb_server.listed([*told, ("x", "evaluation", {}, [])])
    )
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    try:
        found = read("wandb:lab/rwtl")
        assert found.runs.keys() == {run.id for run in kept}
        for id, run in found.runs.items():
            pd.testing.assert_frame_equal(run.curve, rows[id].reset_index(drop=True), check_dtype=False)
        both = read("wandb:lab/rwtl", outputs / "training" / "*")
        assert len(both.runs) == len(kept) and all(run.folder is not None for run in both.runs.values())
    finally:
        server.stop()
    with pytest.raises(InputError, match=r"wandb:lab/rwtl cannot be read .*wandb login"):
        read("wandb:lab/rwtl")


def copied(outputs, tmp_path, **status):
    """A copy of the outputs in which one training's status says something else."""
    there = tmp_path / "outputs"
    shutil.copytree(outputs, there, ignore=shutil.ignore_patterns("wandb", "recording", "pictures"))
    changed = next(
        folder
        for folder in sorted((there / "training").glob("*"))
        if json.loads((folder / "status.json").read_text())["values"]["transfer"]["source"]
    )
    file = changed / "status.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | status))
    return there, changed


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"format": FORMAT["training"] - 1}, f"it has format {FORMAT['training'] - 1}, now {FORMAT['training']}"),
        ({"state": "failed"}, "it is failed, not complete"),
        ({"state": "interrupted"}, "it is interrupted, not complete"),
    ],
)
def test_what_cannot_be_compared_is_said_and_the_rest_is(made, outputs, tmp_path, status, reason):
    there, changed = copied(outputs, tmp_path, **status)
    comparison = read(there / "training" / "*")
    assert any(note.startswith(f"{changed} is left out: {reason}") for note in comparison.notes)
    assert f"training-{changed.name}" not in comparison.runs and len(comparison.runs) == 2 * sum(CELLS.values()) - 1


def test_a_report_is_written_without_what_is_gone_or_damaged(made, outputs, tmp_path):
    there, _ = copied(outputs, tmp_path)
    verdict = next((there / "pretraining").glob("*/verdict.txt"))
    for file in (verdict, *(there / "training").glob("*/transfer.json")):
        damage(file, "cut off")
    done = run("compare", there, f"runs={there}/training/*", "rows=transfer", "columns=clips.dt")
    assert done.returncode == 0, done.stderr
    page = Path(re.search(r"report: (.*)", done.stdout)[1]).read_text()
    assert f"There are no pictures of {there}/recording/" in page and "recording does not exist: give the path" in page
    assert f"There are no pictures of {verdict.parent}: {verdict} is damaged (" in page
    assert page.count("There are no numbers of what ") == len(CELLS) and "transfer.json is damaged (" in page


def test_sources_that_are_none_are_named(made, outputs, tmp_path):
    with pytest.raises(InputError, match=r"nothing matches .*missing/\*; give folders of artifacts"):
        find_runs(f"{outputs}/missing/*")
    with pytest.raises(InputError, match=r"is neither an artifact's folder .* nor W&B's"):
        find_runs(tmp_path)
    there, _ = copied(outputs, tmp_path, state="failed")
    for file in (there / "training").glob("*/status.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 1}))
    with pytest.raises(InputError, match=r"no training is found .*is left out: it has format 1"):
        find_runs(f"{there}/training/*")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["runs=outputs/none*"], "nothing matches outputs/none"),
        (
            ["rows=transfer"],
            "rows is transfer, which tells apart runs that are read; give runs=..., or set comparison.rows",
        ),
        (["analysis.metric=err"], "analysis.metric is 'err'; choose one of epe"),
        (["analysis.metrik=epe"], "analysis.metrik|metrik"),
    ],
)
def test_bad_lines_end_with_one_message(line, said, tmp_path):
    done = run("compare", tmp_path, *line)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert any(part in done.stderr for part in said.split("|")), done.stderr


@pytest.mark.slow
def test_what_fails_is_named_and_the_others_are_compared(made, outputs):
    """What fails, and the runs of a seed that is new, are made side by side, in processes of their own."""
    quiet = "transfer: ${comparison.conditions.freeze_none.transfer}, clips: {active: [0.9, 1.0]}"
    quiet = f"{{{quiet}, pretraining: {{seed: ${{seed}}}}}}"
    rows = [f"+comparison.conditions.quiet={quiet}"]
    rows += ["comparison.rows=[scratch,freeze_none,quiet]", "comparison.seeds=[1,2,3]"]
    done = run("compare", outputs, TINY, *rows)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.count("error: pretraining quiet: clips.active") == 3, "each seed has a pre-training of its own"
    assert done.stderr.count("error: evaluate quiet seed 1: what it needs was not made: pretraining quiet\n") == 1
    assert "error: comparison: without 9 of what it needs" in done.stderr
    assert "note: quiet seed 1 failed: what it needs was not made: pretraining quiet: " in done.stdout
    for row in ("scratch", "freeze_none"):
        assert f"evaluate {row} seed 3 done" in done.stderr and f"training {row} seed 3: making" in done.stderr
    report = Path(done.stdout.rsplit("report: ", 1)[1].strip())
    table = pd.read_csv(report.with_name("comparison.csv"))
    assert set(table.row) == {"scratch", "freeze_none"} and "leaves none of the" in report.read_text()


@pytest.fixture(scope="module")
def browser():
    reason = provide(["chromium"], ["chromium"])
    if reason:
        pytest.skip(f"no browser: {reason}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        opened = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        yield opened
        opened.close()


@pytest.fixture
def page_at(browser, made):
    """Open the report in a window of some width; complaints and requests are collected."""

    def open_page(width):
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.complaints = []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on(
            "request", lambda request: page.complaints.append(request.url) if request.url.startswith("http") else None
        )
        page.goto(f"file://{made[1]}/report.html")
        page.wait_for_function("document.body.dataset.drawn", timeout=60_000)
        return page

    return open_page


# Boxes of what is shown, two of which share no pixel: blocks of the page, and the parts of each figure.
OVERLAPS = """
() => {
  const found = [];
  const boxes = elements =>
    [...elements].map(e => [e, e.getBoundingClientRect()]).filter(([e, b]) => b.width && b.height);
  const compare = (list, what) => list.forEach(([e, a], i) => list.slice(i + 1).forEach(([f, b]) => {
    const w = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const h = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    const [one, other] = [e, f].map(shown => shown.textContent.trim().slice(0, 40));
    if (w > 1 && h > 1) found.push(`${what}: ${one} | ${other}`);
  }));
  compare(boxes(document.body.querySelectorAll(":scope > *")), "blocks");
  document.querySelectorAll(".cards, .pair, .plots").forEach(e => compare(boxes(e.children), e.className));
  document.querySelectorAll(".plot").forEach(plot => {
    compare(boxes(plot.querySelectorAll(".xtick text, .xtitle, .legend .traces")), plot.id);
    compare(boxes(plot.querySelectorAll(".ytick text, .ytitle")), plot.id);
    const outside = plot.getBoundingClientRect();
    boxes(plot.querySelectorAll("text")).forEach(([e, b]) => {
      if (b.left < outside.left - 1 || b.right > outside.right + 1 || b.bottom > outside.bottom + 1)
        found.push(`${plot.id}: ${e.textContent} reaches out`);
    });
  });
  return found;
}
"""


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_loads_quietly_and_nothing_overlaps(page_at, width):
    page = page_at(width)
    assert page.complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OVERLAPS) == []
    drawn = set(page.evaluate("[...document.querySelectorAll('.plot')].filter(e => e.data).map(e => e.id)"))
    dataset = "procedural_test"
    places = {"curves", "steps", "heat_map", f"differences {dataset}", f"data {dataset}"}
    assert drawn == {f"plot-{place}" for place in places}


@pytest.mark.browser
def test_the_test_of_overlaps_can_fail(page_at):
    page = page_at(400)
    page.evaluate("document.querySelector('h2').style.marginTop = '-5rem'")
    assert page.evaluate(OVERLAPS)
    page.add_style_tag(content="table { min-width: 60rem; } .wide { overflow-x: visible; }")
    assert page.evaluate("document.documentElement.scrollWidth") > 400


VISIBLE = """
document.getElementById("plot-curves").data.filter(t => t.visible !== "legendonly" && t.name).map(t => t.name)
"""
# Where the middle point of the first curve is on the screen.
POINT = """
() => {
  const plot = document.getElementById("plot-curves"), {xaxis, yaxis} = plot._fullLayout;
  plot.scrollIntoView();
  const curve = plot.calcdata.find(points => points[0].trace.showlegend !== false), point = curve[curve.length >> 1];
  const box = plot.getBoundingClientRect();
  return [box.left + xaxis._offset + xaxis.c2p(point.x), box.top + yaxis._offset + yaxis.c2p(point.y)];
}
"""


@pytest.mark.browser
def test_the_curves_answer(page_at):
    page = page_at(1280)
    page.mouse.move(*page.evaluate(POINT))
    page.wait_for_selector("#plot-curves .hovertext")
    assert "step" in page.locator("#plot-curves .hovertext").first.text_content()
    before = page.evaluate(VISIBLE)
    assert before == list(CELLS)
    page.locator("#plot-curves .legendtoggle").first.click()
    page.wait_for_function(f"({VISIBLE.strip().rstrip(';')}).length == {len(before) - 1}")
    assert page.evaluate(VISIBLE) == before[1:]


@pytest.mark.browser
def test_it_prints_with_its_curves(page_at, tmp_path):
    page = page_at(1280)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    page.wait_for_function("document.querySelector('#plot-curves .main-svg').getBoundingClientRect().width <= 700")
    page.pdf(path=str(tmp_path / "report.pdf"), format="A4")
    assert (tmp_path / "report.pdf").stat().st_size > 50_000


@pytest.mark.browser
def test_the_page_shows_all_that_it_promises(page_at):
    page = page_at(1280)
    headings = page.locator("h2").all_inner_texts()
    assert headings == [
        "What ran",
        "Tables",
        "Training efficiency",
        "Generalisation",
        "Waves and pre-training",
        "Flow fields",
        "Transfers",
        "To reproduce",
    ]
    assert page.locator("#flow ~ .cards").first.locator(".card b").all_inner_texts() == ["given", *CELLS]
    assert page.locator(".card img").evaluate_all("images => images.every(i => i.naturalWidth > 0)")
    assert page.get_by_text("It asks for the same artifact.").count() == sum(CELLS.values())
    commit = page.get_by_text("This page was made by rwtl commit").inner_text()
    assert "torch 2." in commit and Path(ROOT, "rwtl").is_dir()
