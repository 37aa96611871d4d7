"""The examples of docs/extending.md, as a reader runs them."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tiny import ROOT, TINY, run

from rwtl.comparing.runs import find_runs
from rwtl.flow.files import write_flo

EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    return tmp_path_factory.mktemp("examples") / "outputs"


def plugins(name):
    return f"plugins=[{EXAMPLES / name}]"


@pytest.mark.slow
def test_a_freezing_strategy_is_a_file(outputs):
    folder = f"--config-dir={EXAMPLES / 'conf'}"
    thaw = ["transfer=thaw", "transfer.unfreeze_at=1", "transfer.unfreeze_every=0"]
    done = run("train", outputs, folder, TINY, *thaw)
    assert done.returncode == 0, done.stderr
    assert "transfer thaw: 149 tensors loaded" in done.stderr and "149 frozen, 21 BatchNorm layers in" in done.stderr
    assert "learning rate of what was loaded × 0.1" in done.stderr


@pytest.mark.slow
def test_an_encoder_is_a_function(outputs):
    line = [plugins("encoder.py"), TINY, "model.variant=wide", "transfer=freeze_encoder"]
    done = run("evaluate", outputs, *line, "trainer.data_workers=1")
    assert done.returncode == 0, done.stderr
    saved = [torch.load(file, weights_only=True) for file in (outputs / "pretraining").glob("*/model.pt")]
    first = "feature_encoder.conv1.weight"
    widths = {each["arguments"]["variant"]: each["weights"][first].shape[0] for each in saved}
    assert widths == {"small": 32, "wide": 48}, "the wide one was pre-trained"


@pytest.mark.slow
def test_a_source_task_is_a_class_and_made_on_demand_and_a_row_of_a_comparison(outputs):
    task = [plugins("source_task.py"), TINY]
    frozen = ["pretraining.kind=arrow_of_time", "transfer=freeze_encoder", "seed=1"]
    trained = run("train", outputs, *task, *frozen)
    assert trained.returncode == 0, trained.stderr
    assert "pretrain freeze_encoder: 4/4 steps" in trained.stderr and "149 tensors loaded" in trained.stderr
    (verdict,) = (file for file in outputs.glob("pretraining/*/verdict.txt") if "cross_entropy" in file.read_text())
    assert verdict.read_text().startswith("validation after 4 steps: cross_entropy 0.")
    (folder,) = re.findall(r"^training .*: making (.*)$", trained.stderr, re.MULTILINE)
    assert [*find_runs(folder)[0].data["code"]] == ["pretraining.code"], "runs of another text are not compared with it"
    row = "{like: freeze_encoder, pretraining: {kind: arrow_of_time, steps: 4, validate_every: 2, batch_size: 2, "
    row += "iterations: 1, validation_clips: 48}}"
    line = [f"+comparison.conditions.arrow={row}", "comparison.rows=[scratch,arrow]", "comparison.seeds=[1]"]
    line += ["executor.jobs=2"]
    compared = run("compare", outputs, *task, *line)
    assert compared.returncode == 0, compared.stderr
    assert f"reused {verdict.parent}" in compared.stderr and "arrow" in compared.stdout
    assert len(list(outputs.glob("pretraining/*/verdict.txt"))) == len(list(outputs.glob("pretraining/*")))


@pytest.mark.slow
def test_a_data_set_is_a_class(outputs, tmp_path):
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (32, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"frame_{number:04}.png")
        write_flo(tmp_path / f"flow_{number:04}.flo", np.full((2, 32, 40), number, dtype=np.float32))
    mine = [f"+datasets.mine={{name: numbered, root: {tmp_path}}}", "evaluation.datasets=[mine]"]
    done = run("evaluate", outputs, plugins("data_set.py"), TINY, *mine)
    assert done.returncode == 0, done.stderr
    (file,) = [file for file in outputs.glob("evaluation/*/errors.csv") if "mine" in file.read_text()]
    assert pd.read_csv(file).pair.tolist() == ["frame_0000", "frame_0001"]
