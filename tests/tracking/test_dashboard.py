"""The workspace of a sweep is about what its runs have logged, as W&B's own program reads them back."""

import json
from pathlib import Path

import numpy as np
import pytest
import wandb
from hydra import compose, initialize_config_dir
from wandb_server import WandbServer

from rwtl.errors import InputError
from rwtl.tracking.dashboard import dashboard
from rwtl.tracking.read_back import read_runs
from rwtl.tracking.tracker import Tracked, log_picture
from rwtl.tracking.wandb import WandbConfig, WandbTracker

CONF = Path(__file__).parents[2] / "conf"
pytestmark = pytest.mark.usefixtures("wandb_read_once")


def log(outputs, kind, digest, sweep, config, metrics, picture):
    tracker = WandbTracker(WandbConfig(), Tracked(kind, digest, f"{kind} {digest}", sweep, config), outputs)
    for step in (0, 10):
        tracker.log_metrics({"step": step, "loss": 1.0, **dict.fromkeys(metrics, 2.0)}, step)
        log_picture([tracker], picture, np.zeros((4, 4, 3), np.uint8), step)
    tracker.close(failed=False)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    for number, (strategy, dt) in enumerate([("scratch", 1), ("scratch", 2), ("freeze_none", 1), ("freeze_none", 2)]):
        config = {"transfer": {"name": strategy}, "clips": {"dt": dt}, "seed": 1, "paths": {"outputs": f"here{number}"}}
        metrics = ["epe", "within_3px", "sintel/epe"]
        log(folder, "training", f"{number}", "train-1", config, metrics, "scenes/flow")
    log(folder, "pretraining", "5", "train-1", {"clips": {"dt": 1}}, ["mse", "mse_copy"], "prediction")
    log(folder, "training", "6", "train-2", {"clips": {"dt": 9}, "seed": 4}, ["other/epe"], "other/flow")
    return folder


def build(outputs, *overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return dashboard(compose("dashboard", overrides=[f"paths.outputs={outputs}", *overrides]))


def read(file):
    return json.loads(file.read_text())


def panels(specification):
    sections = specification["spec"]["section"]["panelBankConfig"]["sections"]
    return {section["name"]: section["panels"] for section in sections}


@pytest.fixture(scope="module")
def built(outputs):
    return read(build(outputs, "sweep=train-1"))


def test_without_a_login_it_says_how_to_publish(outputs, capsys):
    assert build(outputs, "sweep=train-1") == outputs / "dashboard" / "train-1.json"
    shown = capsys.readouterr()
    assert shown.out == "4 runs\n"
    assert f"to publish it: wandb login; wandb sync {outputs / 'wandb' / '*run-*'}" in shown.err
    assert "logger.wandb.mode=online" in shown.err


def test_errors_are_grouped_by_strategy_and_interval(built):
    section = built["spec"]["section"]
    (runset,) = section["runSets"]
    assert [key["name"] for key in runset["grouping"]] == ["transfer.value.name", "clips.value.dt"]
    filtered = {one["key"]["name"]: one["value"] for one in runset["filters"]["filters"]}
    assert filtered == {"group": "train-1", "jobType": "training"} and section["settings"]["xAxis"] == "step"
    curves = [panel["config"] for panel in panels(built)["Errors"]]
    shown = {(curve["metrics"][0], curve.get("groupBy")) for curve in curves}
    groups = (None, "transfer.value.name", "clips.value.dt")
    assert shown == {(metric, group) for metric in ("val/epe", "val/sintel/epe") for group in groups}
    assert len(curves) == 6 and all(curve["xAxis"] == "step" for curve in curves)
    assert all((curve["groupAgg"], curve["groupArea"]) == ("mean", "minmax") for curve in curves)


def test_what_differs_and_what_it_leads_to(built):
    (panel,) = panels(built)["What differs, and what it leads to"]
    assert panel["viewType"] == "Parallel Coordinates Plot"
    columns = [column["displayName"] for column in panel["config"]["columns"]]
    # not seed, of one value, nor where outputs are
    assert columns == ["clips.dt", "transfer.name", "val/epe", "val/sintel/epe"]
    (comparer,) = panels(built)["Runs side by side"]
    assert comparer["viewType"] == "Run Comparer"


def test_every_panel_shows_what_runs_of_the_sweep_have_logged(built, outputs):
    runs = [run for run in read_runs(outputs / "wandb", []) if (run.group, run.job_type) == ("train-1", "training")]
    logged = {name for run in runs for name in run.history.columns} - {"step"}
    pictures = {name for run in runs for name in run.media.name}
    configs = [panel["config"] for section in panels(built).values() for panel in section]
    assert {metric for config in configs for metric in config.get("metrics", [])} == logged
    assert {key for config in configs for key in config.get("mediaKeys", [])} == pictures == {"scenes/flow"}


def test_panels_do_not_overlap(built):
    for section in panels(built).values():
        taken = [
            (panel["layout"]["x"] + x, panel["layout"]["y"] + y)
            for panel in section
            for x in range(panel["layout"]["w"])
            for y in range(panel["layout"]["h"])
        ]
        assert len(taken) == len(set(taken)) and max(x for x, _ in taken) < 24


def test_a_pre_training_is_shown_by_its_own_metric(outputs):
    file = build(outputs, "sweep=train-1", "stage=pretraining")
    assert file.name == "train-1_pretraining.json"
    shown = panels(read(file))
    assert [panel["config"]["metrics"] for panel in shown["Errors"]] == [["val/mse"], ["val/mse"]]
    assert [panel["config"]["mediaKeys"] for panel in shown["Pictures"]] == [["prediction"]]


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["sweep=train-3"], r"no training of the sweep 'train-3'; sweeps there: train-1 \(pretraining\), train-1 \("),
        (["sweep=train-1", "logger=tensorboard"], "use logger=wandb"),
        ([], "sweep is not set; give it on the command line as sweep="),
    ],
)
def test_what_cannot_be_shown_is_named(outputs, overrides, named):
    with pytest.raises(InputError, match=named):
        build(outputs, *overrides)


@pytest.fixture
def login(monkeypatch):
    def at(url):
        wandb.teardown()  # a process asks for the server's address once
        settings = {"BASE_URL": url, "API_KEY": "0" * 40, "HTTP_TIMEOUT": "1", "X_GRAPHQL_RETRY_MAX": "1"}
        for key, value in settings.items():
            monkeypatch.setenv(f"WANDB_{key}", value)

    yield at
    wandb.teardown()


def test_with_a_login_the_same_is_published(built, outputs, login, capsys):
    server = WandbServer()
    login(server.url)
    build(outputs, "sweep=train-1", "logger.wandb.mode=online")
    server.stop()
    (view,) = [variables for operation, variables in server.asked if operation == "UpsertView2"]
    assert (view["entityName"], view["projectName"], view["displayName"]) == ("lab", "rwtl", "Sweep train-1: training")
    sent = panels({"spec": json.loads(view["spec"])})
    assert {name: len(found) for name, found in sent.items()} == {k: len(v) for k, v in panels(built).items()}
    assert f"dashboard: {server.url}/lab/rwtl?nw=" in capsys.readouterr().out


def test_a_server_that_is_away_leaves_the_specification(outputs, login):
    login("http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"W&B does not take the dashboard \(.*; it is on disk, try again later"):
        build(outputs, "sweep=train-2", "logger.wandb.mode=online")
    assert (outputs / "dashboard" / "train-2.json").is_file()
