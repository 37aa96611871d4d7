"""RAFT in formats of others: the same flow, at sizes that the export has not seen."""

import numpy as np
import onnxruntime
import pytest
import torch
from films import write_checkpoint
from tiny import run

from rwtl.errors import InputError
from rwtl.models.checkpoints import load_raft
from rwtl.models.export import export_raft
from rwtl.models.raft import build_raft

SIZES = ((128, 176), (160, 136))


def exported(tmp_path, variant, file):
    """The model of a checkpoint that the app has exported, in a process without the checks of shapes in these tests."""
    checkpoint = write_checkpoint(tmp_path / "raft.pt", variant)
    done = run("export", tmp_path, f"checkpoint={checkpoint}", f"file={file}", "iterations=1")
    assert done.returncode == 0, done.stderr
    assert "multiples of 8, from 128 px on; iterations: 1" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"raft.pt", file.name}
    return load_raft(checkpoint)


def images_of(size):
    torch.manual_seed(1)
    return [255 * torch.rand(1, 3, *size) for _ in range(2)]


@pytest.mark.slow
def test_onnx_gives_the_same_flow_at_every_size(tmp_path):
    model = exported(tmp_path, "small", tmp_path / "raft.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "raft.onnx")
    for images in map(images_of, SIZES):
        expected = model.estimate(*images, 1).flow.numpy()
        names = ("image1", "image2")
        (flow,) = session.run(["flow"], {name: image.numpy() for name, image in zip(names, images, strict=True)})
        assert np.abs(flow - expected).max() < 1e-3 < np.abs(expected).max()


@pytest.mark.slow
def test_a_program_of_torch_gives_the_same_flow_at_every_size(tmp_path):
    model = exported(tmp_path, "basic", tmp_path / "raft.pt2")
    program = torch.export.load(tmp_path / "raft.pt2").module()
    for images in map(images_of, SIZES):
        torch.testing.assert_close(program(*images), model.estimate(*images, 1).flow)


@pytest.mark.parametrize(
    ("file", "options", "said"),
    [
        ("raft.pb", {}, r"raft\.pb: a model is exported as \.onnx or \.pt2"),
        ("raft.onnx", {"correlation": "on_demand"}, "correlation is on_demand, whose loop over parts of the frame"),
    ],
)
def test_what_cannot_be_exported_is_said(tmp_path, file, options, said):
    with pytest.raises(InputError, match=said):
        export_raft(build_raft("small", **options), tmp_path / file)
