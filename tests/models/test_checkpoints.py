import zipfile
from fractions import Fraction

import pytest
import torch

from rwtl.errors import InputError
from rwtl.models.checkpoints import load_model, load_raft, recognise, save_model
from rwtl.models.next_frame import NextFrameModel, build_next_frame
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


def test_it_says_what_it_recognised(saved):
    path, model = saved
    assert str(recognise(path)) == f"rwtl RAFT small, {len(model.state_dict())} tensors, feature_norm batch"


def test_options_replace_those_of_the_file_and_what_the_weights_fix_cannot_be_replaced(saved):
    path, model = saved
    save_model(path, "raft", SMALL | {"iterations": 3}, model)
    assert load_raft(path).iterations == 3
    assert load_raft(path, iterations=5).iterations == 5
    with pytest.raises(TypeError, match="feature_norm"):
        load_raft(path, feature_norm="none")


def test_a_next_frame_model_is_no_raft(saved, tmp_path):
    assert not load_model(saved[0]).training
    arguments = SMALL | {"iterations": 1}
    save_model(tmp_path / "frames.pt", "next_frame", arguments, build_next_frame(**arguments))
    with pytest.raises(InputError, match="holds a next_frame model; a raft model is needed"):
        load_raft(tmp_path / "frames.pt")
    assert isinstance(load_model(tmp_path / "frames.pt"), NextFrameModel)


def test_weights_of_another_variant_are_refused_by_tensor(saved):
    path, model = saved
    save_model(path, "raft", SMALL | {"variant": "basic"}, model)
    with pytest.raises(InputError, match=r"context_encoder\.norm1\.weight is missing; .*; and 284 more\."):
        load_raft(path)


def test_arguments_that_no_builder_has_are_named(saved):
    path, model = saved
    save_model(path, "raft", SMALL | {"colour": "red"}, model)
    with pytest.raises(InputError, match=r"'colour': 'red'.*another version of rwtl"):
        load_raft(path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", bytes(range(128, 160)), None])
def test_a_damaged_file_is_named(saved, content):
    path, _ = saved
    path.write_bytes(path.read_bytes()[:1000] if content is None else content)
    with pytest.raises(InputError, match=f"{path} cannot be read") as caught:
        load_raft(path)
    assert "weights_only" not in str(caught.value)  # PyTorch's advice is to read it unsafely


def test_a_file_that_could_run_code_is_not_read(tmp_path):
    torch.save({"state_dict": {}, "arguments": Fraction(1, 2)}, tmp_path / "code.ckpt")
    with pytest.raises(
        InputError, match=r"code\.ckpt holds fractions\.Fraction, which is no tensor; .* could run code"
    ):
        load_raft(tmp_path / "code.ckpt")


def test_a_file_that_is_not_there_or_not_ours(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_raft(tmp_path / "nothing.pt")
    torch.save({"weights": {}}, tmp_path / "foreign.pt")
    with pytest.raises(InputError, match=r"holds no RAFT that is known; it starts with 'weights'\. Known are"):
        load_raft(tmp_path / "foreign.pt")
    with pytest.raises(InputError, match="lacks the keys"):
        load_model(tmp_path / "foreign.pt")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    with pytest.raises(InputError, match="holds a list; a dictionary"):
        load_raft(tmp_path / "list.pt")
    torch.save({"kind": "raft", "arguments": SMALL, "weights": {"a": 1.0}}, tmp_path / "number.pt")
    with pytest.raises(InputError, match="a is a float; every weight must be a tensor"):
        load_raft(tmp_path / "number.pt")


@pytest.mark.parametrize("dtype", [torch.int32, torch.complex64, torch.bool])
def test_weights_that_are_no_real_numbers_are_refused(tmp_path, dtype):
    weights = build_raft(**SMALL).state_dict()
    name = "feature_encoder.conv1.weight"
    weights[name] = weights[name].to(dtype)
    torch.save({"kind": "raft", "arguments": SMALL, "weights": weights}, tmp_path / "model.pt")
    with pytest.raises(InputError, match=rf"{name} holds {str(dtype)[6:]} in place of real numbers"):
        load_raft(tmp_path / "model.pt")
    weights[name] = weights[name].half()
    torch.save({"kind": "raft", "arguments": SMALL, "weights": weights}, tmp_path / "model.pt")
    load_raft(tmp_path / "model.pt")


@pytest.mark.skipif(torch.cuda.is_available(), reason="where CUDA is, a file of CUDA's loads in any case")
def test_a_file_saved_on_a_gpu_loads_on_the_cpu(saved, tmp_path):
    path, model = saved
    on_gpu = tmp_path / "gpu.pt"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(on_gpu, "w") as target:
        for name in source.namelist():  # the pickle names each tensor's device as a string with its length before it
            content = source.read(name)
            if name.endswith("data.pkl"):
                content = content.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
            target.writestr(name, content)
    with pytest.raises(RuntimeError, match="CUDA"):
        torch.load(on_gpu, weights_only=True)
    loaded = load_raft(on_gpu).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in model.state_dict().items())
