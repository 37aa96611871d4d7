"""The pre-training stage on small recordings of known fronts, and what a training takes over from it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir

from rwtl.comparing.skill_grid import errors_by_predictor, skill_grid
from rwtl.errors import InputError
from rwtl.models.checkpoints import save_official
from rwtl.models.raft import build_raft
from rwtl.pipeline.artifact import build
from rwtl.pipeline.flow_training import TrainingPlan, training
from rwtl.pipeline.pretraining import pretraining
from rwtl.pipeline.source import load_source
from rwtl.pipeline.source_tasks import pretraining_plan

CONF = str(Path(__file__).parents[2] / "conf")
FRONTS = ["recording=fronts", "recording.rows=32", "recording.columns=32", "recording.duration=20"]
CLIPS = ["clips.dt=0.5", "clips.active=[0,1]", "clips.gap=1", "clips.crop=32"]
SOURCE = [*FRONTS, *CLIPS, "trainer.threads=1"]
SOURCE += [f"pretraining.{value}" for value in ("steps=2", "validate_every=2", "batch_size=2", "iterations=1")]
NEXT_FRAME = [*SOURCE, "pretraining.validation_clips=2"]
SCENES = [
    f"datasets.procedural_training.{value}" for value in ("height=32", "width=32", "mean_displacement=2", "size=8")
]
TARGET = [f"training.{value}" for value in ("steps=2", "validate_every=2", "batch_size=2", "iterations=1")]
TARGET += ["training.validation_iterations=1", *SCENES, "datasets.procedural_validation.size=1"]
FLOW_KINDS = {
    "wave_flow": ["pretraining=wave_flow", *SOURCE, "pretraining.validation_pairs=2"],
    "self_supervised": ["pretraining=self_supervised", *SOURCE, "pretraining.validation_pairs=2"],
}


@pytest.fixture
def configured(tmp_path):
    """Return a function that composes the configuration of an app, with outputs in a folder of the test's own."""

    def of(app, *overrides):
        with initialize_config_dir(CONF, version_base="1.3"):
            return compose(app, overrides=[*overrides, f"paths.outputs={tmp_path / 'outputs'}"])

    return of


def weights(folder):
    return torch.load(folder / "model.pt", weights_only=True)["weights"]


def test_next_frame_prediction_leaves_a_model_its_skill_and_pictures(configured):
    made = build(pretraining(configured("pretrain", *NEXT_FRAME, "clips.length=4", "clips.calcium_range=null")))
    assert list(made.curve.step) == [0, 2]
    table = made.skill
    assert list(table.predictor) == ["model", "copy", "extrapolation", "constant_motion"]
    assert table.mse[0] == pytest.approx(made.curve.mse.iloc[-1], rel=1e-4)
    low, high = json.loads((made.path / "normalisation.json").read_text())["calcium_range_nM"]
    assert 60 < low < high < 700
    saved = np.load(made.path / "predictions.npz")
    assert saved["clips"].shape == (2, 4, 1, 32, 32) and saved["predicted"].shape == (2, 2, 1, 32, 32)
    assert (made.path / "predictions.png").read_bytes().startswith(b"\x89PNG")
    assert "than copying I2" in made.verdict
    assert json.loads((made.path / "transfer.json").read_text())["loaded"] == []
    assert made.status()["values"]["clips"]["colour"] == "grey"


@pytest.mark.parametrize("kind", FLOW_KINDS)
@pytest.mark.slow
def test_flow_of_waves_trains_a_raft_whose_parts_all_go_into_another(kind, configured):
    cfg = configured("train", *FLOW_KINDS[kind], *TARGET, "transfer=all_parts")
    trained = build(training(cfg))
    source = build(pretraining(cfg))
    assert "than no motion" in source.verdict
    fronts = pd.read_csv(source.path / "fronts.csv")
    assert len(fronts) == 2 and (fronts.no_motion > 0).all()
    loaded = json.loads((trained.path / "transfer.json").read_text())["loaded"]
    assert set(loaded) == set(weights(source.path))  # small RAFT has no other part


def test_scenes_are_a_source_in_colour(configured):
    made = build(pretraining(configured("pretrain", "clips=scenes", "clips.crop=32", *NEXT_FRAME[5 + 3 :], *SCENES)))
    assert load_source(made.path).colour == "rgb"
    assert np.load(made.path / "predictions.npz")["clips"].shape[2] == 3
    assert not (made.path / "normalisation.json").exists() and made.status()["parents"] == {}


@pytest.mark.slow
def test_no_steps_leave_the_model_as_it_was_drawn(configured):
    cfg = configured("pretrain", *NEXT_FRAME, "pretraining.steps=0", "pretraining.seed=5")
    made = build(pretraining(cfg))
    torch.manual_seed(5)
    drawn = pretraining_plan(cfg).build().state_dict()
    assert all(torch.equal(tensor, drawn[name]) for name, tensor in weights(made.path).items())
    assert list(made.curve.step) == [0]


@pytest.mark.slow
def test_several_recordings_are_parents_and_the_order_of_values_counts_once(configured):
    made = build(pretraining(configured("pretrain", *NEXT_FRAME, "clips.recordings=[{},{seed: 9}]")))
    parents = made.status()["parents"]
    assert set(parents) == {"recording 1", "recording 2"} and len(set(parents.values())) == 2
    alone = build(pretraining(configured("pretrain", *NEXT_FRAME)))
    same = build(pretraining(configured("pretrain", *NEXT_FRAME, "clips.recordings=[{seed: 0}]")))
    assert same.digest == alone.digest != made.digest


@pytest.mark.slow
def test_a_pretraining_begins_with_the_weights_of_another_raft(configured, tmp_path):
    official = tmp_path / "raft.pth"
    save_official(official, build_raft("small"))
    begin = ["transfer@initial=freeze_encoder", f"initial.source={official}", "model=stock_small"]
    made = build(pretraining(configured("pretrain", *NEXT_FRAME, *begin)))
    source = load_source(official).weights
    name = "feature_encoder.conv1.weight"
    assert torch.equal(weights(made.path)[name], source[name])
    assert made.status()["values"]["initial"]["source"] != str(official), "a source counts by its weights"


@pytest.mark.slow
def test_a_training_takes_a_source_from_a_folder_wherever_it_lies(configured, tmp_path):
    source = build(pretraining(configured("pretrain", *NEXT_FRAME)))
    elsewhere = shutil.copytree(source.path, tmp_path / "elsewhere")
    encoder = ["transfer=freeze_encoder"]
    by_path = [
        build(training(configured("train", *SOURCE[4:8], *TARGET, *encoder, f"transfer.source={path}")))
        for path in (source.path, elsewhere)
    ]
    assert by_path[0].digest == by_path[1].digest and by_path[1].reused
    name = "feature_encoder.layer1.0.conv1.weight"
    assert torch.equal(weights(by_path[0].path)[name], weights(source.path)[name])


def test_the_name_of_a_transfer_makes_no_other_result(configured):
    values = [
        TrainingPlan.of(configured("train", *TARGET, f"transfer.name={name}")).values() for name in ("scratch", "other")
    ]
    assert values[0] == values[1]


def test_official_encoders_are_transferred_and_what_was_done_is_printed(configured, tmp_path, capsys):
    official = tmp_path / "raft.pth"
    save_official(official, build_raft("basic"))
    cfg = configured("train", *TARGET, "model=stock_basic", "transfer=both_encoders", f"transfer.source={official}")
    trained = build(training(cfg))
    report = json.loads((trained.path / "transfer.json").read_text())
    printed = capsys.readouterr().err
    assert "139 tensors loaded" in printed and "all names are in transfer.json" in printed
    assert "context_encoder  107 of 107" in printed
    assert len(report["loaded"]) == 32 + 107 and report["left_out"]["update_block.flow_head.conv1.weight"]


BAD = {
    "dt between frames": (["clips.dt=0.25"], r"dt is 0\.25 s.*0\.1"),
    "clips longer than their part": (["clips.length=8", "clips.dt=2"], r"span"),
    "too quiet and too active": (
        ["clips.active=[0.9,1]"],
        r"leaves none of the 131 training clips: 131 have a smaller fraction .* 0 a greater one",
    ),
    "one frame": (["clips.length=2"], r"clips\.length is 2; predicting the next frame takes 3 or more"),
    "unknown kind of clips": (["clips.kind=movies"], r"clips\.kind is 'movies'; choose one of waves, scenes"),
    "unknown source task": (["pretraining.kind=chess"], r"pretraining\.kind is 'chess'; choose one of next_frame"),
    "beginning with itself": (
        ["transfer@initial=freeze_none"],
        r"initial\.source is what the pre-training begins with: give a checkpoint",
    ),
    "negative weight of active pixels": (["pretraining.active_weight=-1"], r"active_weight is -1"),
    "unknown decoder": (["pretraining.decoder=magic"], r"decoder is 'magic'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(case, configured):
    overrides, message = BAD[case]
    with pytest.raises(InputError, match=message):
        build(pretraining(configured("pretrain", *NEXT_FRAME, *overrides)))


def test_flow_kinds_need_waves(configured):
    cfg = configured("pretrain", "pretraining=wave_flow", "clips=scenes", *SCENES)
    with pytest.raises(InputError, match=r"wave_flow, which learns from waves; use clips=triplets"):
        build(pretraining(cfg))


BAD_TRANSFER = {
    "a part that the source will not have": (
        ["transfer=both_encoders"],
        r"holds no context_encoder; .*pretraining\.context=context_encoder",
    ),
    "nothing to freeze": (["transfer=freeze_batchnorm", "model.feature_norm=instance"], r"would freeze nothing"),
    "unfreezing after the end": (["transfer=unfreeze_later"], r"unfreezes until step 100, but the training has 2"),
    "a folder that is not there": (["transfer=freeze_none", "transfer.source=nowhere"], r"nowhere does not exist"),
}


@pytest.mark.parametrize("case", BAD_TRANSFER)
def test_a_bad_transfer_is_named_before_anything_is_built(case, configured, tmp_path):
    overrides, message = BAD_TRANSFER[case]
    with pytest.raises(InputError, match=message):
        build(training(configured("train", *NEXT_FRAME, *TARGET, *overrides)))
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_a_source_of_another_variant_or_colour_is_refused_before_anything_is_built(configured, tmp_path):
    source = build(pretraining(configured("pretrain", *NEXT_FRAME, "clips.colour=blue_red"))).path
    transfer = ["transfer=freeze_none", f"transfer.source={source}"]
    with pytest.raises(
        InputError, match=r"colour blue_red, but grey is configured; use clips=triplets clips\.colour=bl"
    ):
        build(training(configured("train", *TARGET, *transfer)))
    with pytest.raises(InputError) as refused:
        build(training(configured("train", *TARGET, *transfer, "clips.colour=blue_red", "model=basic")))
    for tensor in build_raft("basic", "batch").feature_encoder.state_dict():
        if not tensor.endswith("num_batches_tracked"):
            assert f"feature_encoder.{tensor} " in str(refused.value)
    assert "model.variant=small" in str(refused.value)
    assert not (tmp_path / "outputs" / "training").exists()


@pytest.mark.slow
def test_skill_over_a_grid_says_where_copying_is_better(configured, capsys):
    cfg = configured("skill", *NEXT_FRAME, 'grid=["clips.dt=0.1,0.5","pretraining.iterations=1"]', "executor=inline")
    folder = skill_grid(cfg)
    table = pd.read_csv(folder / "skill.csv")
    assert len(table) == 2 * 4 and set(table["clips.dt"]) == {0.1, 0.5}
    assert "WORSE than" in capsys.readouterr().out
    for picture in ("skill.png", "next_frames.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"grid\.clips\.dd: the configuration has no value clips\.dd"):
        skill_grid(configured("skill", *NEXT_FRAME, 'grid=["clips.dd=1"]'))
    with pytest.raises(InputError, match=r"grid holds 'clips\.dt'; give a key and its values"):
        skill_grid(configured("skill", *NEXT_FRAME, "grid=[clips.dt]"))


def test_verdicts_of_a_grid():
    names = ["model", "copy", "extrapolation", "constant_motion"]
    errors = {1: [0.1, 0.4, 0.3, 0.2], 2: [0.25, 0.4, 0.3, 0.2], 3: [0.5, 0.4, 0.3, 0.2], 4: [np.nan, 0.4, 0.3, 0.2]}
    table = pd.concat(
        pd.DataFrame({"predictor": names, "mse": mse, "psnr": 1.0, "ssim": 1.0, "dt": dt}) for dt, mse in errors.items()
    )
    wide = errors_by_predictor(table, ["dt"])
    worse = ["WORSE than constant_motion", "WORSE than copying", "WORSE than copying"]
    assert list(wide.verdict) == ["better than all", *worse]
    assert list(wide.skill) == pytest.approx([0.5, -0.25, -1.5, np.nan], nan_ok=True)
    diverged = table.assign(mse=table.mse.where(table.predictor != "model"))
    assert list(errors_by_predictor(diverged, ["dt"]).verdict) == 4 * ["WORSE than copying"]
