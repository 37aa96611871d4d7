import pytest
import torch

from rwtl.errors import InputError
from rwtl.models.checkpoints import load_next_frame, load_raft, save_model
from rwtl.models.raft import build_raft

SMALL = {"variant": "small", "feature_norm": "batch"}


@pytest.fixture
def saved(tmp_path):
    model = build_raft(**SMALL)
    save_model(tmp_path / "model.pt", "raft", SMALL, model)
    return tmp_path / "model.pt", model


def test_round_trip(saved):
    path, model = saved
    loaded = load_raft(path)
    assert not loaded.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_another_kind_of_model_is_refused(saved):
    with pytest.raises(InputError, match="holds a raft model; a next_frame model is needed"):
        load_next_frame(saved[0])


def test_weights_of_another_variant_are_refused_by_tensor(saved):
    path, model = saved
    save_model(path, "raft", SMALL | {"variant": "basic"}, model)
    with pytest.raises(
        InputError, match=r"feature_encoder\.conv1\.weight is \(32, 3, 7, 7\) in place of \(64, 3, 7, 7\)|missing"
    ):
        load_raft(path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_damaged_file_is_named(saved, content):
    path, _ = saved
    path.write_bytes(path.read_bytes()[:1000] if content is None else content)
    with pytest.raises(InputError, match=str(path)):
        load_raft(path)


def test_a_file_that_is_not_there_or_not_ours(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_raft(tmp_path / "nothing.pt")
    torch.save({"weights": {}}, tmp_path / "foreign.pt")
    with pytest.raises(InputError, match="lacks the keys"):
        load_raft(tmp_path / "foreign.pt")
