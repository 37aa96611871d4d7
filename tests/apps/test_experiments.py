"""The experiments as a user runs them: programs of their own, real simulation, real training, at a tiny scale."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import forked
import numpy as np
import pandas as pd
import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from tiny import ROOT, TINY, command, run, start

from rwtl.flow.files import write_flo

STOCK = Path(tempfile.gettempdir()) / f"rwtl-stock-{os.getpid()}.pth"


@pytest.fixture(scope="session", autouse=True)
def stock(tmp_path_factory):
    """A checkpoint of stock small RAFT in the official format, where the command lines below look for it."""
    from rwtl.models.checkpoints import save_official
    from rwtl.models.raft import build_raft

    save_official(STOCK, build_raft("small"))
    yield
    STOCK.unlink()


def states(outputs):
    files = [*outputs.glob("*/*/status.json"), *outputs.glob("unfinished/*/*/*/status.json")]
    return {path.parent.relative_to(outputs): path.read_text() for path in files}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    return tmp_path_factory.mktemp("study") / "outputs"


ONE_BY_ONE = ["comparison.seeds=[1]", "executor=inline"]  # test_compare has several side by side


@pytest.fixture(scope="module")
def compared(outputs):
    return run("compare", outputs, TINY, *ONE_BY_ONE)


def test_compare_makes_everything_and_a_report_that_needs_no_network(compared, outputs):
    assert compared.returncode == 0, compared.stderr
    for shown in (
        "s of model time",
        "pretrain freeze_none: 4/4 steps",
        "train freeze_encoder seed 1: 4/4 steps",
        "next-frame model",
    ):
        assert shown in compared.stderr
    (folder,) = (outputs / "comparison").glob("*/")
    table = pd.read_csv(folder / "comparison.csv").query("measure == 'epe'")
    strategies = ["scratch", "freeze_none", "freeze_encoder", "freeze_batchnorm", "freeze_encoder_batchnorm"]
    assert list(table.row) == strategies
    assert table["mean"].between(0, 100).all() and table["mean"].nunique() == 5
    page = (folder / "report.html").read_text()
    assert f"report: {folder / 'report.html'}" in compared.stdout
    for strategy in strategies:
        assert strategy in page
    pictures = (
        1 + 1 + 3 * (2 + 2 * 5)
    )  # mosaic, predicted frames; of 3 scenes the frame, flow, and estimates with errors
    assert page.count("data:image/png;base64,") == pictures and page.count("data:image/gif;base64,") == 1
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert page.count("It asks for the same artifact.") == 5


def test_again_reuses_everything(compared, outputs):
    before = states(outputs)
    again = run("compare", outputs, TINY, *ONE_BY_ONE)
    assert again.returncode == 0, again.stderr
    assert "making" not in again.stderr
    assert re.findall(r"^(.*): reused", again.stderr, re.MULTILINE) == ["comparison"], "it needs nothing upstream"
    assert states(outputs) == before


def test_a_sweep_of_train_builds_upstream_once_and_reuses_what_the_comparison_made(compared, outputs):
    swept = run("train", outputs, "-m", TINY, "transfer=scratch,freeze_encoder", "seed=1,2")
    assert swept.returncode == 0, swept.stderr
    assert swept.stderr.count("training scratch seed 1: reused") == 1
    assert swept.stderr.count("training freeze_encoder seed 2: making") == 1
    assert swept.stderr.count("validation EPE after 4 steps") == 4 and "2 reused, 2 done" in swept.stdout
    assert len(list((outputs / "recording").glob("*/"))) == len(list((outputs / "pretraining").glob("*/"))) == 1


def test_the_same_training_gives_the_same_weights_on_another_day(compared, outputs, tmp_path):
    (folder,) = (
        path.parent
        for path in (outputs / "training").glob("*/status.json")
        if '"training scratch seed 1"' in path.read_text()
    )
    again = run("train", tmp_path / "elsewhere", TINY)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "elsewhere" / "training" / folder.name / "curve.csv").read_text() == (
        folder / "curve.csv"
    ).read_text()
    assert not (tmp_path / "elsewhere" / "recording").exists(), "training from scratch needs no waves"


def test_ctrl_c_keeps_what_is_finished_and_says_so(compared, outputs):
    overrides = [TINY, "pretraining.seed=3", "pretraining.steps=4000", "pretraining.validate_every=4000"]
    job = start("pretrain", outputs, *overrides)
    while "/4000 steps" not in job.stderr.readline():
        pass
    job.send_signal(signal.SIGINT)
    _, errors = job.communicate(timeout=300)
    assert job.returncode not in (0, -signal.SIGINT)
    assert "goes on from there" in errors.strip().splitlines()[-1]
    assert "Traceback" not in errors
    assert sum('"interrupted"' in text for text in states(outputs).values()) == 1


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Two pairs in FlyingChairs' layout: noise that moves 2 px to the right."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    for name in ("00001", "00002"):
        image = rng.integers(0, 255, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / f"{name}_img1.ppm")
        Image.fromarray(np.roll(image, 2, axis=1)).save(folder / f"{name}_img2.ppm")
        flow = np.zeros((2, 40, 48), np.float32)
        flow[0] = 2.0
        write_flo(folder / f"{name}_flow.flo", flow)
    return folder


def test_transfers_says_what_every_preset_does_in_every_variant():
    done = forked.run([ROOT / "experiments" / "transfers.py"])
    assert done.returncode == 0, done.stderr
    rows = {
        cells[1].strip(): [cell.strip() for cell in cells[2:-1]] for cells in map(table_row, done.stdout.split("\n"))
    }
    assert rows["freeze_batchnorm"] == ["refused", "refused", "107 / 75 / 15", "149 / 105 / 21"]
    assert set(rows) >= {file.stem for file in (ROOT / "conf" / "transfer").glob("*.yaml")}


def table_row(line):
    cells = line.split("│")
    return cells if len(cells) > 2 else ["", "", ""]


def test_a_search_finds_the_best_of_its_trials_and_again_goes_on_from_them(compared, outputs):
    overrides = ["-m", "hparams_search=nfp", TINY]
    done = run("pretrain", outputs, *overrides, "hydra.sweeper.n_trials=2")
    assert done.returncode == 0, done.stderr
    results = (outputs / "sweeps" / "pretrain-nfp" / "optimization_results.yaml").read_text()
    best = float(re.search(r"best_value: ([\d.e-]+)", results)[1])
    skills = [pd.read_csv(file).set_index("predictor").mse for file in outputs.glob("pretraining/*/skill.csv")]
    ratios = [mse["model"] / mse[["copy", "extrapolation", "constant_motion"]].min() for mse in skills]
    assert any(best == pytest.approx(ratio, rel=1e-6) for ratio in ratios)
    again = run("pretrain", outputs, *overrides, "hydra.sweeper.n_trials=3")
    assert again.stderr.count("pretraining: making") == 1, "two of three trials were there"
    assert re.search(r"best: trial \d, ", again.stdout)


def checkpoint(outputs):
    return next((outputs / "training").glob("*/model.pt"))


def on(pairs):
    return [f"paths.flying_chairs={pairs}", "evaluation.datasets=[procedural_test,flying_chairs]"]


def test_evaluate_gives_the_errors_of_a_checkpoint_on_every_real_pair(compared, outputs, pairs):
    done = run("evaluate", outputs, TINY, f"checkpoint={checkpoint(outputs)}", *on(pairs))
    assert done.returncode == 0, done.stderr
    errors = pd.read_csv(re.search(r"table: (.*)", done.stdout)[1], dtype={"pair": str})
    of_pairs = errors[errors.dataset == "flying_chairs"]
    assert (errors.dataset == "procedural_test").sum() == 4
    assert list(of_pairs.pair) == ["00001", "00002"] and (of_pairs.epe > 0).all()
    for row in of_pairs.itertuples():
        assert re.search(rf"│ {row.pair} +│ +{row.epe:.2f} ", done.stdout)


def test_a_recording_is_shown(compared, outputs):
    done = run("simulate", outputs, TINY, "recording.duration=6.0")
    assert done.returncode == 0 and "recording: reused" in done.stderr, done.stderr
    (folder,) = (outputs / "recording").glob("*/")
    assert (folder / "mosaic.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "movie.gif").read_bytes().startswith(b"GIF8")


APPS = sorted(file.stem for file in (ROOT / "experiments").glob("*.py") if file.stem not in ("transfers", "flow"))


@pytest.mark.parametrize("app", APPS)
def test_every_app_lists_its_values(app, tmp_path):
    done = run(app, tmp_path / "outputs", "--help", libraries_only=True, env=os.environ | {"COLUMNS": "80"})
    assert done.returncode == 0, done.stderr
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        values = OmegaConf.to_container(compose(app, overrides=[f"paths.outputs={tmp_path / 'outputs'}"]))
    if values["executor"] is None:  # of an app that makes nothing
        del values["executor"], values["slurm"]
    shown = re.search(r"^values, .*?:\n\n(.*)\n\n-m, ", done.stdout, re.MULTILINE | re.DOTALL)[1]
    assert yaml.safe_load(shown) == values, "what is shown is YAML, comments apart"


@pytest.mark.slow
def test_an_app_starts_from_nothing(tmp_path):
    """The other tests fork programs from a process that has imported the libraries."""
    line = command("status", tmp_path / "outputs", TINY)
    done = subprocess.run([*line[:2], "compare", *line[2:]], capture_output=True, text=True)
    assert done.returncode == 0 and "comparison: 1 to make" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("needed", "spared"),
    [
        # A process that prepares samples imports the file of the experiment, and what it gets.
        (["experiments/train.py", "rwtl.flow.scenes.dataset", "rwtl.sampling"], "pytorch_lightning wandb matplotlib"),
        (["experiments/simulate.py", "rwtl.pipeline.recording"], "torch wandb"),
    ],
)
def test_what_starts_often_imports_little(needed, spared):
    experiment, *modules = needed
    program = f"import sys, runpy, {', '.join(modules)}; runpy.run_path('{experiment}', run_name='__mp_main__'); "
    program += f"print({set(spared.split())} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


def damaged(pairs, tmp_path, change):
    folder = tmp_path / "damaged"
    folder.mkdir()
    for file in pairs.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    change(folder)
    return folder


def truncate_flow(folder):
    file = folder / "00002_flow.flo"
    file.write_bytes(file.read_bytes()[:500])


def shrink_frame(folder):
    from PIL import Image

    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(folder / "00001_img2.ppm")


SUBMISSION = [f"checkpoint={STOCK}", "submission.datasets=[procedural_test]"]
BY_HYDRA = {
    "unknown key": ("train", ["training.stepz=3"], r"stepz"),
    "unknown choice": ("train", ["transfer=freeze_everything"], r"freeze_everything"),
    "output folder of a sweep": ("train", ["-m", TINY, "seed=1,2"], r"/dev/null/outputs"),
}
BY_US = {
    "negative duration": ("simulate", ["recording.duration=-5"], r"recording\.duration is -5"),
    "missing folder": ("train", ["flow_data=chairs", "paths.flying_chairs=nowhere"], r"nowhere"),
    "folder not named": ("train", ["flow_data=folder"], r"paths\.folder is not set"),
    "unknown data set": ("evaluate", ["evaluation.datasets=[chairs]"], r"no data set chairs; .*flying_chairs"),
    "unknown key of a data set": ("train", ["+datasets.procedural_training.shape=3"], r"procedural_training\.shape"),
    "unknown key of augmentation": (
        "train",
        ["+flow_data.training.procedural_training.augmentation={height: 16, width: 16, crop: 3}"],
        r"procedural_training\.augmentation\.crop",
    ),
    "unknown correlation": ("train", ["trainer.correlation=some_pairs"], r"trainer\.correlation is 'some_pairs'"),
    "start of another model": ("train", [f"start_from={STOCK}"], r"start_from .* holds official RAFT small"),
    "schedule without the one before": (
        "train",
        ["training.freeze_batchnorm_statistics=true"],
        r"freeze_batchnorm_statistics keeps .* start_from=",
    ),
    "missing start": ("train", ["start_from=nothing.pt"], r"nothing\.pt does not exist"),
    "nothing to submit": ("submit", [*SUBMISSION, "submission.warm_start=false"], r"no submission format"),
    "missing checkpoint": ("evaluate", ["checkpoint=nothing.pt"], r"nothing\.pt does not exist"),
    "nothing to freeze": (
        "compare",
        ["model.feature_norm=instance"],
        r"freeze_batchnorm .*would freeze nothing",
    ),
    "unknown normalisation": ("train", ["model.feature_norm=group"], r"model\.feature_norm is 'group'"),
    "shorter clips": ("pretrain", ["clips.length=2"], r"clips\.length is 2"),
    "another kind of recording": ("pretrain", ["recording.kind=rings"], r"recording\.kind is 'rings'; choose one of"),
    "a row that changes the target task": (
        "compare",
        ["+comparison.conditions.scratch.training={steps: 2}"],
        r"scratch changes training; rows may differ in transfer",
    ),
    "negative seed of pre-training": ("pretrain", ["pretraining.seed=-1"], r"pretraining\.seed is -1; it must lie in"),
    "seed that numpy does not take": (
        "train",
        ["seed=4294967296"],
        r"seed is 4294967296; it must lie in 0 to 42949",
    ),
    "unknown accelerator": ("train", ["trainer.accelerator=abacus"], r"accelerator is 'abacus'; choose one of cpu"),
    "unknown precision": ("evaluate", ["trainer.precision=8"], r"precision is 8; choose one of 32-true, bf16-mixed"),
    "senseless gamma": ("train", ["training.gamma=-1"], r"gamma is -1"),
    "no path": ("evaluate", ["checkpoint=5"], r"checkpoint is 5; it must be a path"),
    "warm start without sequences": ("evaluate", ["evaluation.warm_start=true"], r"none in procedural_test"),
    "list of kinds": ("train", ["datasets.procedural_training.textures=5"], r"textures is 5; it must be a list"),
    "scenes of other data": (
        "train",
        [
            "trainer.scenes_on_device=true",
            "flow_data.training.procedural_training.augmentation={height: 8, width: 8, min_scale: 0, max_scale: 0}",
        ],
        r"scenes_on_device renders procedural scenes alone",
    ),
    "bad recipe of a later stage": ("compare", ["training.steps=-5"], r"steps is -5"),
    "output folder": ("simulate", ["paths.outputs=/dev/null/outputs"], r"cannot write to /dev/null/outputs"),
}


def assert_one_clear_message(done, named):
    """Ours: one line, the last. Hydra's own messages span several lines and end with its advice on stack traces."""
    assert done.returncode != 0
    assert "Traceback" not in done.stderr, done.stderr
    ours = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    message = done.stderr if "HYDRA_FULL_ERROR" in done.stderr else done.stderr.strip().splitlines()[-1]
    assert len(ours) == ("HYDRA_FULL_ERROR" not in done.stderr), done.stderr
    assert re.search(named, message), done.stderr


@pytest.mark.parametrize("case", BY_HYDRA)
def test_bad_command_lines_end_in_one_clear_message(case, tmp_path):
    app, overrides, named = BY_HYDRA[case]
    outputs = Path("/dev/null/outputs") if case.startswith("output folder") else tmp_path / "outputs"
    assert_one_clear_message(run(app, outputs, *overrides, cwd=tmp_path), named)


def main_of(app):
    """The function of an experiment that Hydra calls."""
    spec = importlib.util.spec_from_file_location(app, ROOT / "experiments" / f"{app}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main.__wrapped__


@pytest.mark.parametrize("case", BY_US)
def test_bad_input_ends_in_one_clear_message_before_anything_is_built(case, tmp_path, capsys):
    app, overrides, named = BY_US[case]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose(app, overrides=[f"paths.outputs={tmp_path / 'outputs'}", *overrides])
    with pytest.raises(SystemExit) as ended:
        main_of(app)(cfg)
    (message,) = capsys.readouterr().err.strip().splitlines()
    assert ended.value.code == 1 and re.match(rf"error: .*{named}", message), message
    assert not list(tmp_path.glob("outputs/recording/*"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda folder: [file.unlink() for file in folder.iterdir()], r"damaged.*no FlyingChairs pairs"),
        (truncate_flow, r"00002_flow\.flo"),
        (shrink_frame, r"00001_img2\.ppm 40x40"),
    ],
)
def test_bad_pairs_are_named_and_nothing_finished_is_lost(compared, outputs, pairs, tmp_path, change, named):
    before = states(outputs)
    folder = damaged(pairs, tmp_path, change)
    checkpoint_of = f"checkpoint={checkpoint(outputs)}"
    done = run("evaluate", outputs, TINY, checkpoint_of, *on(folder))
    assert_one_clear_message(done, named)
    assert before.items() <= states(outputs).items()


def test_a_checkpoint_of_another_variant_is_refused(compared, outputs):
    import torch

    path = outputs / "other.pt"
    content = torch.load(checkpoint(outputs), weights_only=True)
    torch.save(content | {"arguments": content["arguments"] | {"variant": "basic"}}, path)
    done = run("evaluate", outputs, TINY, f"checkpoint={path}")
    assert_one_clear_message(done, r"other\.pt does not fit raft .*basic.*encoder.* is missing")


def test_the_status_of_a_failure_says_why(compared, outputs):
    assert_one_clear_message(
        run("pretrain", outputs, TINY, "clips.active=[0.9,1]"), r"active \[0.9, 1.0\] leaves none of the"
    )
    assert any('"failed"' in text and "leaves none" in text for text in states(outputs).values())
