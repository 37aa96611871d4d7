"""The schedule that mixes the most, run as a user does, on a few tiny pairs in every official layout."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

from rwtl.flow.files import write_flo, write_kitti_flow, write_pfm
from rwtl.models.checkpoints import load_raft, save_official
from rwtl.models.encoder import batch_norms
from rwtl.models.raft import build_raft

ROOT = Path(__file__).parents[2]
SIZE = (40, 56)
CROP = ["height=32", "width=48"]


def run(app, *overrides):
    spec = importlib.util.spec_from_file_location(app, ROOT / "experiments" / f"{app}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        module.main.__wrapped__(compose(app, overrides=[*overrides, "trainer=cpu", "trainer.threads=1"]))


def make(root):
    """Sintel, KITTI, HD1K and FlyingThings3D, two frames each."""
    rng = np.random.default_rng(0)
    things = "TRAIN/A/0000"
    frames = [f"Sintel/training/{render}/alley_1/frame_{k:04d}.png" for render in ("clean", "final") for k in (1, 2)]
    frames += [f"KITTI/training/image_2/000000_{k}.png" for k in (10, 11)]
    frames += [f"HD1k/hd1k_input/image_2/000000_{k:04d}.png" for k in (0, 1)]
    frames += [f"FlyingThings3D/frames_cleanpass/{things}/left/{k:04d}.png" for k in (6, 7)]
    writers = {"Sintel/training/flow/alley_1/frame_0001.flo": write_flo}
    for direction, name in (("into_future", "IntoFuture"), ("into_past", "IntoPast")):
        folder = f"FlyingThings3D/optical_flow/{things}/{direction}/left"
        writers |= {f"{folder}/OpticalFlow{name}_{k:04d}_L.pfm": write_pfm for k in (6, 7)}
    sparse = ["KITTI/training/flow_occ/000000_10.png"]
    sparse += [f"HD1k/hd1k_flow_gt/flow_occ/000000_{k:04d}.png" for k in (0, 1)]
    writers |= dict.fromkeys(sparse, lambda path, flow: write_kitti_flow(path, flow, (flow[0] > 0).astype(np.float32)))
    for name in [*frames, *writers]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
    for name in frames:
        Image.fromarray(rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)).save(root / name)
    for name, write in writers.items():
        write(root / name, rng.normal(0, 3, (2, *SIZE)).astype(np.float32))


def test_the_sintel_schedule_goes_on_from_an_official_checkpoint_and_is_evaluated(tmp_path, capsys):
    make(tmp_path / "data")
    torch.manual_seed(0)
    before = build_raft("basic")
    save_official(tmp_path / "things.pth", before)
    parts = ("sintel_clean", "kitti", "hd1k")
    where = [f"paths.datasets={tmp_path / 'data'}", f"paths.outputs={tmp_path / 'outputs'}"]
    recipe = ["steps=2", "batch_size=2", "validate_every=2", "iterations=1", "validation_iterations=1"]
    crops = [f"flow_data.training.{part}.augmentation.{side}" for part in parts for side in CROP]
    start = f"start_from={tmp_path / 'things.pth'}"
    run("train", "experiment=sintel", start, *where, *(f"training.{value}" for value in recipe), *crops)
    assert "starting from" in capsys.readouterr().err
    (folder,) = (tmp_path / "outputs" / "training").glob("*/")
    curve = pd.read_csv(folder / "curve.csv")
    assert list(curve.step) == [0, 2] and {"epe", "sintel_final/epe"} <= set(curve.columns)

    after = load_raft(folder / "model.pt").state_dict()
    statistics = [f"{layer}.running_mean" for layer in batch_norms(before)]
    assert statistics and all(torch.equal(after[name], before.state_dict()[name]) for name in statistics)
    assert not torch.equal(after["feature_encoder.conv1.weight"], before.state_dict()["feature_encoder.conv1.weight"])

    checkpoint = f"checkpoint={tmp_path / 'things.pth'}"
    run("evaluate", checkpoint, *where, "evaluation=sintel", "evaluation.iterations=1", "evaluation.warm_start=true")
    shown, said = capsys.readouterr()
    assert "holds official RAFT basic (module.), 179 tensors" in said and "sintel_final" in shown
    errors = pd.read_csv(next((tmp_path / "outputs" / "evaluation").glob("*/errors.csv")))
    assert abs(errors.epe[0] - curve.epe[0]) < 1e-4, "training began with the checkpoint's weights"
