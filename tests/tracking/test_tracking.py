"""Runs of W&B and TensorBoard, read back with their own programs; nobody is logged in, nothing leaves the machine."""

import os
import pickle
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import forked
import numpy as np
import pandas as pd
import pytest
import tiny
import torch
import wandb
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from trainings import NEXT_FRAME, WHERE, Clips, Noise, StopAt, crash
from wandb_server import WandbServer

from rwtl import files
from rwtl.errors import InputError
from rwtl.learning.fit import fit
from rwtl.learning.log import Measurements
from rwtl.learning.tasks.next_frame import NextFrameModule
from rwtl.learning.transfer.report import PartReport, TransferReport
from rwtl.models.next_frame import build_next_frame
from rwtl.pipeline.artifact import Artifact
from rwtl.pipeline.flow_training import training
from rwtl.pipeline.pretraining import lineage
from rwtl.program import git
from rwtl.sampling import Part, SampleStream
from rwtl.tracking.loggers import check_loggers, tracking
from rwtl.tracking.pictures import ClipPictures
from rwtl.tracking.read_back import by_own_names, histories, read_runs
from rwtl.tracking.tensorboard import TensorBoardConfig, TensorBoardTracker
from rwtl.tracking.tracker import Lineage, Tracked, close, log_picture
from rwtl.tracking.wandb import WandbConfig, WandbTracker

ROOT = Path(__file__).parents[2]
DIGEST, SOURCE = "0123456789ab", "aaaaaaaaaaaa"
BOTH = {"wandb": {"tags": ["tiny"]}, "tensorboard": {}}
APPS = ("pretrain", "train", "evaluate", "compare", "skill")
REPORT = TransferReport(loaded=["a", "b"], frozen=["a"], parts={"feature_encoder": PartReport(3, 2, 1, 9, 4, 0, 0)})


def configuration(outputs, **logger):
    values = {"paths": {"outputs": str(outputs)}, "clips": {"dt": 0.5}, "sweep": "train-1234", "logger": logger}
    return OmegaConf.create(values)


def recording(outputs):
    folder = outputs / "recording" / SOURCE
    (folder / "recording" / "calcium").mkdir(parents=True, exist_ok=True)
    (folder / "recording" / "calcium" / "shard").write_bytes(bytes(1000))
    return lineage({"recording": Artifact.at(folder)})


def train(outputs, digest, logger, *callbacks):
    """As a stage does, in a process that has just begun."""
    folder = outputs / "pretraining" / digest
    folder.mkdir(parents=True, exist_ok=True)
    cfg = configuration(outputs, **logger)
    with tracking(cfg, "pretraining", digest, f"pretraining {digest}", recording(outputs)) as tracker:
        tracker.transfer(REPORT)
        torch.manual_seed(3)
        model = build_next_frame("small", "batch", 1, decoder="warp", context="features")
        stream = SampleStream([Part(Clips())], 1, NEXT_FRAME.steps * NEXT_FRAME.batch_size)
        callbacks = [Noise(), Measurements(2, NEXT_FRAME.batch_size), ClipPictures(folder / "pictures"), *callbacks]
        module = NextFrameModule(model, NEXT_FRAME, 0.5)
        loggers = tracker.loggers
        fit(module, NEXT_FRAME, stream, [Clips()], WHERE, folder, "test", module.metrics, callbacks, loggers=loggers)
        torch.save(model.state_dict(), folder / "model.pt")
        tracker.model(folder / "model.pt")
    return model.state_dict()


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """A training that crashed at step 5, beyond its checkpoint at 4, and went on; then another, of another artifact."""
    folder = tmp_path_factory.mktemp("outputs")
    with suppress(RuntimeError):
        train(folder, DIGEST, BOTH, StopAt("on_train_batch_end", 5, crash))
    time.sleep(1.1)  # W&B names the folders of a run by the second
    train(folder, DIGEST, BOTH)
    foreign = wandb.init(mode="offline", dir=tmp_path_factory.mktemp("foreign"))  # that somebody has left open
    train(folder, "another", {"wandb": {}})
    assert wandb.run is foreign and not foreign.summary.keys()
    foreign.finish()
    return folder


@pytest.fixture(scope="module")
def runs(outputs):
    return {run.id: run for run in read_runs(outputs / "wandb", [])}


@pytest.fixture(scope="module")
def logged(outputs):
    """What the CSV says, which is right (test_resumption): one row for each step."""
    return pd.read_csv(outputs / "pretraining" / DIGEST / files.METRICS).groupby("step").first()


@pytest.mark.slow
def test_loggers_change_no_bit(outputs, tmp_path):
    weights = train(tmp_path, DIGEST, {})
    resumed = torch.load(outputs / "pretraining" / DIGEST / "model.pt")
    assert all(torch.equal(weights[name], resumed[name]) for name in weights)
    csv = Path("pretraining", DIGEST, files.METRICS)
    assert (tmp_path / csv).read_text() == (outputs / csv).read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"pretraining", "recording"}


@pytest.mark.slow
def test_pieces_of_a_run_are_one_curve(runs, logged):
    run = runs[f"pretraining-{DIGEST}"]
    history = by_own_names(run.history).set_index("step")
    assert len(run.pieces) == 2 and run.exit_code == 0
    assert {"loss", "learning_rate", "gradient_norm", "mse", "mse_copy"} <= set(logged.columns)
    pd.testing.assert_frame_equal(history[logged.columns], logged, check_exact=True)
    of_training = [*logged.columns.drop([name for name in logged.columns if name.startswith("mse")]), "throughput"]
    assert {f"train/{name}" for name in of_training} | {
        f"val/{name}" for name in logged.columns.drop(of_training[:-1])
    } == {*run.history.columns.drop("step")}
    assert list(history.throughput.dropna().index) == [2, 4, 6] and (history.throughput.dropna() > 0).all()


def test_a_piece_whose_job_failed_says_so(runs):
    from rwtl.tracking import read_back as wandb_runs

    file = next(runs[f"pretraining-{DIGEST}"].pieces[0].glob("*.wandb"))
    records = wandb_runs._records(file)
    assert records[-1]["exit"]["exit_code"] == 1
    assert max(record["history"]["item"]["step"] for record in records if record["type"] == "history") == 4


def test_a_run_says_what_it_is(runs):
    run = runs[f"pretraining-{DIGEST}"]
    assert (run.name, run.group, run.job_type, run.tags) == (
        f"pretraining {DIGEST}",
        "train-1234",
        "pretraining",
        ["tiny"],
    )
    assert run.config["clips"] == {"dt": 0.5}
    parents = {"recording": f"recording-{SOURCE}"}
    about = {"kind": "pretraining", "digest": DIGEST, "parents": parents}
    assert run.config["artifact"] == about | git() and re.fullmatch(r"[0-9a-f]{40}", git()["git_commit"])
    assert run.summary["transfer/loaded"] == 2 and run.summary["transfer/frozen"] == 1
    assert "2 tensors loaded" in run.summary["transfer"] and "feature_encoder  2 of 3" in run.summary["transfer"]


def test_pictures_are_logged_at_every_validation(outputs, runs):
    media = runs[f"pretraining-{DIGEST}"].media
    assert sorted(media.step) == [0, 2, 4, 6] and set(media.name) == {"prediction"}
    for step, path in zip(media.step, media.path, strict=True):
        saved = outputs / "pretraining" / DIGEST / "pictures" / f"step_{step:06d}.png"
        np.testing.assert_array_equal(wandb.Image(str(path)).image, wandb.Image(str(saved)).image)


def test_jobs_of_one_process_have_runs_of_their_own(runs, logged):
    run = runs["pretraining-another"]
    assert len(runs) == 2 and len(run.pieces) == 1 and run.name == "pretraining another" and run.tags == []
    history = by_own_names(run.history).set_index("step")
    pd.testing.assert_frame_equal(history[logged.columns], logged, check_exact=True)
    assert run.outputs == ["pretraining-another"] and wandb.run is None


def test_histories_are_one_table(runs):
    table = histories(runs.values(), ["clips.dt", "transfer.name"])
    assert list(table.columns[:6]) == ["run", "name", "group", "clips.dt", "transfer.name", "step"]
    assert list(table.groupby("run").step.max()) == [6, 6] and set(table["clips.dt"]) == {0.5}
    assert table["transfer.name"].isna().all()
    assert list(histories([]).columns) == ["run", "name", "group", "step"]


def test_tensorboard_shows_one_curve(outputs, logged):
    events = EventAccumulator(str(outputs / "tensorboard" / "pretraining" / DIGEST))
    events.Reload()
    assert len(list(Path(events.path).glob("events.*"))) == 2
    for name in logged.columns:
        known = logged[name].dropna().astype(np.float32)
        tag = f"val/{name}" if name.startswith("mse") else f"train/{name}"
        assert scalars(events, tag) == list(zip(known.index, known, strict=True)), name
    assert [picture.step for picture in events.Images("prediction")] == [0, 2, 4, 6]
    texts = {tag: events.Tensors(tag) for tag in events.Tags()["tensors"]}
    assert {tag: len(found) for tag, found in texts.items()} == dict.fromkeys(
        ("configuration/text_summary", "transfer/text_summary"), 1
    )
    assert b"2 of 3" in texts["transfer/text_summary"][0].tensor_proto.string_val[0]


def scalars(events, name):
    return [(event.step, event.value) for event in events.Scalars(name)]


@pytest.mark.slow
def test_what_a_later_piece_says_counts_from_its_first_step_on(tmp_path):
    tracked = Tracked("training", DIGEST, "training")
    for steps in ((0, 2, 4, 6), (4, 6, 8), (8, 10)):
        trackers = [WandbTracker(WandbConfig(), tracked, tmp_path)]
        trackers.append(TensorBoardTracker(TensorBoardConfig(), tracked, tmp_path / "tensorboard"))
        for step in steps:
            for tracker in trackers:
                tracker.log_metrics({"step": step, "epe": 100.0 * steps[0] + step}, step)
        log_picture(trackers, "flow", np.zeros((4, 4, 3), np.uint8), steps[-1])
        copies = pickle.loads(pickle.dumps(trackers))
        assert [tracker.opened for tracker in copies] == [None, None]  # other processes open their own
        close(trackers, failed=False)
        time.sleep(1.1)  # W&B names the folders of a run by the second
    expected = [(0, 0), (2, 2), (4, 404), (6, 406), (8, 808), (10, 810)]
    (run,) = read_runs(tmp_path / "wandb", [])
    assert list(zip(run.history.step, run.history["val/epe"], strict=True)) == expected and len(run.pieces) == 3
    assert list(run.media.step) == [10]  # the others were shown at steps that were gone through again
    events = EventAccumulator(str(tmp_path / "tensorboard" / "training" / DIGEST))
    events.Reload()
    assert scalars(events, "val/epe") == expected and [picture.step for picture in events.Images("flow")] == [10]


def of_tensorboard(folder, steps):
    """Log to TensorBoard as a job does, and return what it shows."""
    tracker = TensorBoardTracker(TensorBoardConfig(), Tracked("training", DIGEST, "training scratch"), folder)
    for step in steps:
        tracker.log_metrics({"epe": 9.0 - step}, step)
    tracker.close(failed=False)
    events = EventAccumulator(str(folder / "training" / DIGEST))
    events.Reload()
    return scalars(events, "val/epe"), events.Tags()["tensors"]


DESCRIBED = ["configuration/text_summary"]


@pytest.mark.parametrize("content", [b"no events" * 100, b"\0" * 1000])
def test_damaged_and_foreign_files_of_tensorboard_are_one_line(tmp_path, capsys, content):
    of_tensorboard(tmp_path, (0, 2))
    (file,) = tmp_path.rglob("events.*")
    file.write_bytes(content)
    assert of_tensorboard(tmp_path, (2, 4)) == ([(2, 7), (4, 5)], DESCRIBED), "its own first file describes it anew"
    said = f"  training scratch: TensorBoard: {file} is damaged, or of another program, and not shown; metrics.csv has "
    assert capsys.readouterr().err == f"{said}all numbers\n"


def test_files_of_tensorboard_of_killed_jobs_and_beside_foreign_ones(tmp_path, capsys):
    of_tensorboard(tmp_path, (0, 2, 4))
    (file,) = tmp_path.rglob("events.*")
    file.write_bytes(file.read_bytes()[:-5])
    (file.parent / "events.out.tfevents.1.killed").touch()
    time.sleep(1.1)  # TensorBoard names files by the second
    assert of_tensorboard(tmp_path, (2, 4)) == ([(0, 9), (2, 7), (4, 5)], DESCRIBED)
    assert not capsys.readouterr().err
    (file.parent / "events.txt").write_text("foreign")
    time.sleep(1.1)
    assert of_tensorboard(tmp_path, (4, 6)) == ([(0, 9), (2, 7), (4, 5), (6, 3)], DESCRIBED)
    assert capsys.readouterr().err.count("\n") == 1


def test_a_training_goes_on_without_tensorboards_folder(tmp_path):
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "training").write_text("a file")
    done = tiny.run("train", tmp_path, tiny.TINY, "logger=tensorboard")
    assert (done.returncode, tiny.besides_progress(done.stderr)) == (0, []), done.stderr
    said = (
        r"^  training scratch seed 1: TensorBoard: \S*training/\w+ cannot be written \(Not a directory\); the training"
    )
    assert len(re.findall(said, done.stderr, re.MULTILINE)) == 1


def synchronise(server, outputs):
    environment = os.environ | {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "0" * 40}
    paths = sorted(map(str, (outputs / "wandb").glob("*run-*")))
    command = [sys.executable, "-m", "wandb", "sync", "--no-skip-online", *paths]
    subprocess.run(command, env=environment, cwd=outputs, check=True, capture_output=True, timeout=300)


def artifacts(server):
    made = [values["input"] for operation, values in server.asked if operation == "CreateArtifact"]
    used = [values["input"]["runName"] for operation, values in server.asked if operation == "UseArtifact"]
    return {one["artifactCollectionName"]: (one["artifactTypeName"], one["runName"]) for one in made}, used


def test_lineage_reaches_the_server_with_wandb_sync(outputs):
    server = WandbServer()
    synchronise(server, outputs)
    server.stop()
    expected = {f"recording-{SOURCE}": ("recording", None)}  # an input, of which no run says that it made it
    for digest in (DIGEST, "another"):
        expected[f"pretraining-{digest}"] = ("model", f"pretraining-{digest}")
    made, used = artifacts(server)
    assert made == expected and set(used) == {f"pretraining-{digest}" for digest in (DIGEST, "another")}
    assert {row["step"] for row in server.history if "val/mse" in row} == {0, 2, 4, 6}


def test_a_recording_is_referred_to_and_a_model_is_a_file(outputs, runs):
    from rwtl.tracking import read_back as wandb_runs

    run = runs["pretraining-another"]
    assert (run.inputs, run.outputs) == ([f"recording-{SOURCE}"], ["pretraining-another"])
    records = wandb_runs._records(next(run.pieces[0].glob("*.wandb")))
    used, made = (record["artifact"]["manifest"]["contents"] for record in records if record["type"] == "artifact")
    assert used[0]["ref"].startswith(f"file://{outputs}/recording/{SOURCE}/recording")
    assert made[0]["local_path"] == str(outputs / "pretraining" / "another" / "model.pt")


@pytest.fixture
def online(tmp_path, monkeypatch):
    """A tracker of a server, to be started with its address."""
    trackers = []

    def start(url):
        wandb.teardown()  # a process asks for the server's address once
        monkeypatch.setenv("WANDB_BASE_URL", url)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        for key in ("WANDB_HTTP_TIMEOUT", "WANDB_X_GRAPHQL_RETRY_MAX", "WANDB_X_GRAPHQL_TIMEOUT_SECONDS"):
            monkeypatch.setenv(key, "1")
        (tmp_path / "model.pt").write_text("weights")
        (tmp_path / "source.pt").write_text("weights")
        config = WandbConfig(mode="online", init_timeout=4.0, finish_timeout=2.0)
        parents = {"pretraining": Lineage("pretraining", SOURCE, tmp_path / "source.pt")}
        tracked = Tracked("training", DIGEST, "training scratch seed 1", parents=parents)
        trackers.append(WandbTracker(config, tracked, tmp_path))
        return trackers[-1]

    yield start
    for tracker in trackers:
        tracker.close(failed=True)
    wandb.teardown()


def finish_and_upload(tracker, outputs, said):
    """Go on to the end; nothing is lost on disk, nor in what `wandb sync` brings to a server that is there again."""
    for step in (2, 4, 6):
        tracker.log_metrics({"step": step, "epe": 1 / step}, step)
    tracker.result(Lineage("training", DIGEST, outputs / "model.pt"))
    tracker.close(failed=False)
    assert said().count("W&B does not take the run") == 1
    (run,) = read_runs(outputs / "wandb", [])
    assert list(run.history.step) == [0, 2, 4, 6] and list(run.history["val/epe"]) == [9, 1 / 2, 1 / 4, 1 / 6]
    assert (run.inputs, run.outputs) == ([f"pretraining-{SOURCE}"], [f"training-{DIGEST}"])
    server = WandbServer()
    synchronise(server, outputs)
    server.stop()
    assert {row["step"]: row["val/epe"] for row in server.history} == dict(
        zip(run.history.step, run.history["val/epe"], strict=True)
    )
    assert artifacts(server)[0][f"training-{DIGEST}"] == ("model", f"training-{DIGEST}")


@pytest.mark.slow
def test_a_server_that_does_not_answer_costs_nothing(online, tmp_path, capfd):
    tracker = online("http://127.0.0.1:9")
    tracker.log_metrics({"step": 0, "epe": 9.0}, 0)
    message = capfd.readouterr().err
    assert "training scratch seed 1: W&B does not take the run" in message and "connection refused" in message
    assert f"upload it later: wandb sync --no-skip-online {tmp_path}/wandb/*run-*-training-{DIGEST}" in message
    finish_and_upload(tracker, tmp_path, lambda: message + capfd.readouterr().err)


@pytest.mark.slow
def test_a_server_that_ends_in_mid_run_costs_nothing(online, tmp_path, capfd):
    server = WandbServer()
    tracker = online(server.url)
    tracker.log_metrics({"step": 0, "epe": 9.0}, 0)
    assert "UpsertBucket" in [operation for operation, _ in server.asked]
    assert "W&B" not in capfd.readouterr().err
    server.stop()
    finish_and_upload(tracker, tmp_path, lambda: capfd.readouterr().err)


@pytest.mark.slow
def test_numbers_survive_a_kill(tmp_path):
    code = f"""
import os, signal, time
from pathlib import Path
from rwtl.tracking.tracker import Tracked
from rwtl.tracking.wandb import WandbConfig
from rwtl.tracking.wandb import WandbTracker
tracker = WandbTracker(WandbConfig(), Tracked("training", "{DIGEST}", "killed"), Path("{tmp_path}"))
for step in range(3):
    tracker.log_metrics({{"step": step, "epe": 1.0}}, step)
time.sleep(2.5)
os.kill(os.getpid(), signal.SIGKILL)
"""
    (tmp_path / "killed.py").write_text(code)
    assert forked.run([tmp_path / "killed.py"]).returncode == -signal.SIGKILL
    (run,) = read_runs(tmp_path / "wandb", [])
    assert list(run.history.step) == [0, 1, 2] and run.exit_code is None


def test_online_without_a_login_names_both_remedies(tmp_path):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    environment |= {"HOME": str(tmp_path)}
    done = tiny.run("dashboard", tmp_path, "sweep=a", "logger.wandb.mode=online", cwd=tmp_path, env=environment)
    assert done.returncode == 1
    assert "nobody is logged in to W&B: run `wandb login`, or set logger.wandb.mode=offline" in done.stderr


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ({"comet": {}}, "logger.comet is no logger; choose of csv, wandb, tensorboard"),
        ({"wandb": {"mode": "onlin"}}, "logger.wandb.mode is 'onlin'; choose one of offline, online, disabled"),
        ({"wandb": {"projekt": "x"}}, "logger.wandb.projekt.*its keys are mode, project"),
        ({"wandb": {"finish_timeout": 0}}, "logger.wandb.finish_timeout is 0.*must be positive"),
        ({"tensorboard": {"flush_seconds": 0}}, "logger.tensorboard.flush_seconds is 0.*at least 1"),
    ],
)
def test_wrong_loggers_are_named(section, named):
    with pytest.raises(InputError, match=named):
        check_loggers(OmegaConf.create({"logger": section}))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["logger.wandb.project=a/b"], "logger.wandb.project is 'a/b'; W&B says: Invalid project name 'a/b': cannot"),
        ([f"logger.wandb.project={'p' * 129}"], "'; W&B says: Invalid project name .*: exceeded 128 characters"),
        (
            [f"logger.wandb.tags=[a,{'t' * 65}]"],
            "W&B says: Tag 't*...t*' is 65 characters. Tags must be between 1 and 64",
        ),
        (["logger.wandb.tags=['']"], "logger.wandb.tags is .*W&B says: Tag at index 0 is empty"),
        (
            [f"logger.wandb.group={'g' * 129}"],
            "logger.wandb.group is 'g*'; W&B's limit is 128 characters, and it has 129",
        ),
        ([f"sweep={'s' * 129}"], "logger.wandb.group, which is the name of the sweep, is 's*'; W&B's limit is 128"),
    ],
)
def test_what_wandb_would_refuse_is_said_before_any_work(tmp_path, line, said):
    for app in ("train", "pretrain"):
        done = tiny.run(app, tmp_path, tiny.TINY, "logger=wandb", *line)
        assert done.returncode == 1 and re.match(f"error: .*{said}", done.stderr), done.stderr
        assert done.stderr.count("\n") == 1 and not done.stdout and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("WANDB_BASE_URL", "nonsense", "Input should be a valid URL, relative URL without a base"),
        ("WANDB_TAGS", "t" * 65, "Tag 't*...t*' is 65 characters. Tags must be between 1 and 64 characters"),
        ("WANDB_API_KEY", " secret", "API key cannot start or end with whitespace"),
        ("WANDB_INIT_TIMEOUT", "soon", "Input should be a valid number"),
    ],
)
def test_what_wandb_would_refuse_of_the_environment_is_said_before_any_work(tmp_path, name, value, said):
    line = [tiny.TINY, "logger=wandb"]
    done = tiny.run("train", tmp_path, *line, env=os.environ | {name: value})
    shown = "" if "KEY" in name else f" is '{value}'"
    assert done.returncode == 1 and re.match(f"error: {name}{shown} in the environment; W&B says: {said}", done.stderr)
    assert done.stderr.count("\n") == 1 and not list(tmp_path.iterdir())
    disabled = tiny.run("train", tmp_path, *line, "logger.wandb.mode=disabled", env=os.environ | {name: value})
    assert (disabled.returncode, tiny.besides_progress(disabled.stderr)) == (0, [])


def test_what_wandb_takes_is_taken(tmp_path):
    line = [f"logger.wandb.group={'g' * 128}", "logger.wandb.tags=tiny", f"logger.wandb.project={'p' * 128}", "sweep=3"]
    config = check_loggers(composed("train", "logger=wandb", *line))["wandb"]
    assert config.tags == ["tiny"]
    tracked = Tracked("training", DIGEST, "training " + "x" * 200, "3")
    tracker = WandbTracker(config, tracked, tmp_path)
    tracker.log_metrics({"epe": 1.0}, 1)
    tracker.close(failed=False)
    (run,) = read_runs(tmp_path / "wandb", [])
    assert len(run.name) == 128 and run.group == "g" * 128 and run.tags == ["tiny"]


@pytest.mark.parametrize(
    ("environment", "line", "logged"),
    [
        ({}, [], True),
        ({"WANDB_MODE": "disabled"}, [], False),
        ({"WANDB_MODE": "offline", "WANDB_PROJECT": "waves"}, [], True),
        ({"WANDB_MODE": "disabled"}, ["logger.wandb.mode=offline"], True),
        ({}, ["logger.wandb.mode=disabled"], False),
        ({"WANDB_MODE": "online"}, ["logger.wandb.mode=disabled"], False),
    ],
)
def test_the_mode_is_that_of_the_line_or_else_of_the_environment(tmp_path, environment, line, logged):
    away = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")} | {"HOME": str(tmp_path)}
    line = [tiny.TINY, "logger=wandb", "logger.wandb.group=mine", *line]
    done = tiny.run("train", tmp_path, *line, env=away | environment)
    assert (done.returncode, tiny.besides_progress(done.stderr)) == (0, []), done.stderr
    assert (tmp_path / "wandb").exists() == logged
    for run in read_runs(tmp_path / "wandb", []):
        assert run.group == "mine", "outside of a sweep too"
        assert run.config["logger"]["wandb"]["project"] == environment.get("WANDB_PROJECT", "rwtl")


def test_online_from_the_environment_needs_a_login(tmp_path):
    away = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")} | {"HOME": str(tmp_path)}
    done = tiny.run("train", tmp_path, tiny.TINY, "logger=wandb", env=away | {"WANDB_MODE": "online"}, cwd=tmp_path)
    assert done.returncode == 1 and "nobody is logged in to W&B" in done.stderr and done.stderr.count("\n") == 1


def test_lightning_gives_no_advice(tmp_path):
    line = [tiny.TINY, "logger=tensorboard", "trainer.data_workers=3", "transfer=freeze_encoder_batchnorm"]
    done = tiny.run("train", tmp_path, *line)
    assert (done.returncode, tiny.besides_progress(done.stderr)) == (0, []), done.stderr
    assert "Lightning" not in done.stdout + done.stderr


def composed(app, *overrides):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose(app, overrides=list(overrides))


@pytest.mark.parametrize("app", APPS)
def test_loggers_are_chosen_by_name(app):
    names = {"": [], "logger=wandb": ["wandb"], "logger=[wandb,tensorboard]": ["wandb", "tensorboard"], "logger=[]": []}
    for override, expected in names.items():
        assert list(check_loggers(composed(app, *filter(None, [override])))) == expected
    configs = check_loggers(composed(app, "logger=[csv,wandb]", "logger.wandb.project=mine"))
    assert configs["wandb"] == WandbConfig(project="mine")  # the presets hold the constructors' defaults


def test_loggers_enter_no_digest(tmp_path):
    plans = [
        training(composed("train", "transfer=freeze_encoder", f"paths.outputs={tmp_path}", *logger)).ancestors()
        for logger in ([], ["logger=[wandb,tensorboard]", "logger.wandb.project=mine"])
    ]
    assert [each.digest for each in plans[0]] == [each.digest for each in plans[1]] and len(plans[0]) == 3
