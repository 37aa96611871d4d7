"""W&B's runs as folders hold them: of earlier versions, of other programs, damaged; none of them stops a comparison."""

import re
import time

import pytest
import wandb
import yaml

from rwtl.comparing.runs import find_runs
from rwtl.composition import compose
from rwtl.config import resolved_yaml
from rwtl.errors import InputError
from rwtl.tracking.read_back import by_own_names, read_runs

SECONDS = 1.1  # W&B names the folders of a run by the second


def log(folder, id, rows, job_type="training", **config):
    """Log a run offline, by W&B's own means."""
    folder.mkdir(exist_ok=True)
    settings = wandb.Settings(silent=True, console="off", disable_git=True)
    about = {"mode": "offline", "id": id, "job_type": job_type, "config": config, "reinit": "create_new"}
    with wandb.init(project="rwtl", dir=folder, settings=settings, **about) as run:
        for row in rows:
            run.log(row)
    return next((folder / "wandb").glob(f"*-{id}"))


@pytest.fixture(scope="module")
def config():
    return yaml.safe_load(resolved_yaml(compose("train", "debug=tiny")))


OLD = [{"step": step, "loss": 2.0, "epe": 9.0 - step, "1px": 5.0} for step in (0, 2)]
NEW = [{"step": step, "train/loss": 1.0, "val/epe": 9.0 - step, "val/1px": 5.0} for step in (2, 4)]


def test_runs_of_all_versions_have_the_same_curves(tmp_path, config):
    for id, rows in {"training-old": OLD, "training-new": NEW, "training-both": OLD}.items():
        log(tmp_path, id, rows, **config)
    time.sleep(SECONDS)
    log(tmp_path, "training-both", NEW, **config)
    curves = {run.id: run.curve for run in find_runs(tmp_path / "wandb")}
    assert {id: list(curve.step) for id, curve in curves.items()} == {
        "training-old": [0, 2],
        "training-new": [2, 4],
        "training-both": [0, 2, 4],
    }
    for curve in curves.values():
        assert set(curve.columns) == {"step", "loss", "epe", "1px"} and list(curve.epe) == list(9.0 - curve.step)
    (both,) = [run for run in read_runs(tmp_path / "wandb", []) if run.id == "training-both"]
    assert {"epe", "val/epe"} < set(both.history.columns) and list(by_own_names(both.history).loss) == [2, 1, 1]


def damage(folder):
    (file,) = folder.glob("run-*.wandb")
    file.write_bytes(b"no file of W&B's" * 100)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (lambda folder, _: damage(log(folder, "training-bad", NEW)), r"cannot be read by `wandb leet inspect`: .*"),
        (lambda folder, config: log(folder, "training-bad", [{"step": "a", "epe": 1.0}], **config), "does not log"),
        (lambda folder, _: log(folder, "training-bad", NEW, lr=0.1), r"is not that of a training of rwtl's \(KeyError"),
        (lambda folder, config: log(folder, "training-bad", NEW, **config | {"seed": "x"}), "seed is 'x'; it must be"),
        (
            lambda folder, config: log(folder, "training-bad", NEW, **config | {"datasets": 3}),
            "is not that of a training",
        ),
        (lambda folder, config: log(folder, "training-bad", [{"step": 0, "loss": 1}], **config), "has no validation"),
    ],
)
def test_a_run_that_is_of_no_use_is_left_out_with_the_reason(tmp_path, config, bad, reason):
    log(tmp_path, "training-good", NEW, **config)
    bad(tmp_path, config)
    found = find_runs(tmp_path / "wandb")
    assert [run.id for run in found] == ["training-good"]
    (note,) = found.notes
    assert note.startswith("W&B's run training-bad is left out: ")
    assert re.search(reason, note), note


def test_a_run_with_a_damaged_piece_is_left_out_as_a_whole(tmp_path, config):
    damage(log(tmp_path, "training-a", OLD, **config))
    time.sleep(SECONDS)
    log(tmp_path, "training-a", NEW, **config)
    with pytest.raises(InputError, match=r"no training is found .* W&B's run training-a is left out: .*inspect"):
        find_runs(tmp_path / "wandb")
