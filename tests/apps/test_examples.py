"""The examples of docs/extending.md, as a reader runs them."""

import forked
import numpy as np
import pytest
import torch
from PIL import Image
from tiny import ROOT, TINY, run

from rwtl.flow.files import write_flo

EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    return tmp_path_factory.mktemp("examples") / "outputs"


def example(name, *arguments):
    done = forked.run([EXAMPLES / name, *arguments])
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_freezing_strategy_is_a_file(outputs):
    folder = f"--config-dir={EXAMPLES / 'conf'}"
    thaw = ["transfer=thaw", "transfer.unfreeze_at=1", "transfer.unfreeze_every=0"]
    done = run("train", outputs, folder, TINY, *thaw)
    assert done.returncode == 0, done.stderr
    assert "transfer thaw: 149 tensors loaded" in done.stdout and "149 frozen, 21 BatchNorm layers in" in done.stdout
    assert "learning rate of what was loaded × 0.1" in done.stdout


@pytest.mark.slow
def test_an_encoder_is_an_entry(outputs):
    said = example("encoder.py", TINY, f"paths.outputs={outputs}")
    assert "making" in said and "count    4.0" in said
    saved = [torch.load(file, weights_only=True) for file in (outputs / "pretraining").glob("*/model.pt")]
    first = "feature_encoder.conv1.weight"
    widths = {each["arguments"]["variant"]: each["weights"][first].shape[0] for each in saved}
    assert widths == {"small": 32, "wide": 48}, "the wide one was pre-trained"


@pytest.mark.slow
def test_a_source_task_is_a_script_that_leaves_a_file(outputs, tmp_path):
    file = tmp_path / "arrow.pt"
    said = example("source_task.py", file, "2", TINY, f"paths.outputs={outputs}")
    assert "step 2: loss" in said
    trained = run("train", outputs, TINY, "transfer=freeze_encoder", f"transfer.source={file}")
    assert trained.returncode == 0, trained.stderr
    assert "149 tensors loaded" in trained.stdout


@pytest.mark.slow
def test_a_data_set_is_a_class(outputs, tmp_path):
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (32, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"frame_{number:04}.png")
        write_flo(tmp_path / f"flow_{number:04}.flo", np.full((2, 32, 40), number, dtype=np.float32))
    said = example("data_set.py", str(tmp_path), TINY, f"paths.outputs={outputs}")
    assert "mine  frame_0000" in said and "frame_0001" in said and "frame_0002" not in said
