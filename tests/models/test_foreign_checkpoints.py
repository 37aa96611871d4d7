"""RAFT's weights by other people's names; the names below are theirs, written out by hand."""

import tarfile
from argparse import Namespace
from zipfile import ZipFile

import pytest
import torch

from rwtl.errors import InputError
from rwtl.models.checkpoints import foreign_names, load_raft, recognise, save_model, save_official
from rwtl.models.raft import build_raft

# our name: official name, torchvision's name
BASIC = {
    "feature_encoder.conv1.weight": ("fnet.conv1.weight", "feature_encoder.convnormrelu.0.weight"),
    "feature_encoder.layer1.1.conv2.bias": (
        "fnet.layer1.1.conv2.bias",
        "feature_encoder.layer1.1.convnormrelu2.0.bias",
    ),
    "feature_encoder.layer3.0.downsample.0.weight": (
        "fnet.layer3.0.downsample.0.weight",
        "feature_encoder.layer3.0.downsample.0.weight",
    ),
    "feature_encoder.conv2.bias": ("fnet.conv2.bias", "feature_encoder.conv.bias"),
    "context_encoder.norm1.running_var": ("cnet.norm1.running_var", "context_encoder.convnormrelu.1.running_var"),
    "context_encoder.layer2.0.norm2.weight": (
        "cnet.layer2.0.norm2.weight",
        "context_encoder.layer2.0.convnormrelu2.1.weight",
    ),
    "context_encoder.layer2.0.downsample.1.running_mean": (
        "cnet.layer2.0.downsample.1.running_mean",
        "context_encoder.layer2.0.downsample.1.running_mean",
    ),
    "context_encoder.layer3.1.norm1.num_batches_tracked": (
        "cnet.layer3.1.norm1.num_batches_tracked",
        "context_encoder.layer3.1.convnormrelu1.1.num_batches_tracked",
    ),
    "update_block.motion_encoder.convc2.weight": (
        "update_block.encoder.convc2.weight",
        "update_block.motion_encoder.convcorr2.0.weight",
    ),
    "update_block.motion_encoder.convf1.bias": (
        "update_block.encoder.convf1.bias",
        "update_block.motion_encoder.convflow1.0.bias",
    ),
    "update_block.motion_encoder.conv.weight": (
        "update_block.encoder.conv.weight",
        "update_block.motion_encoder.conv.0.weight",
    ),
    "update_block.gru.horizontal.convz.weight": (
        "update_block.gru.convz1.weight",
        "update_block.recurrent_block.convgru1.convz.weight",
    ),
    "update_block.gru.vertical.convq.bias": (
        "update_block.gru.convq2.bias",
        "update_block.recurrent_block.convgru2.convq.bias",
    ),
    "update_block.flow_head.conv2.weight": ("update_block.flow_head.conv2.weight",) * 2,
    "upsampler.mask.0.weight": ("update_block.mask.0.weight", "mask_predictor.convrelu.0.weight"),
    "upsampler.mask.2.bias": ("update_block.mask.2.bias", "mask_predictor.conv.bias"),
}
SMALL = {
    "feature_encoder.conv1.bias": ("fnet.conv1.bias", "feature_encoder.convnormrelu.0.bias"),
    "context_encoder.layer3.0.conv3.weight": (
        "cnet.layer3.0.conv3.weight",
        "context_encoder.layer3.0.convnormrelu3.0.weight",
    ),
    "update_block.gru.convr.weight": (
        "update_block.gru.convr.weight",
        "update_block.recurrent_block.convgru1.convr.weight",
    ),
}
NAMES = {"basic": BASIC, "small": SMALL}
COUNTS = {
    ("official", "basic"): 179,
    ("official", "small"): 106,
    ("torchvision", "basic"): 169,
    ("torchvision", "small"): 106,
}


def randomised(variant, norm="instance"):
    """A model none of whose tensors, running statistics included, is at its initial value."""
    torch.manual_seed(0)
    model = build_raft(variant, norm)
    for tensor in model.state_dict().values():
        torch.nn.init.uniform_(tensor, 0.5, 1.5) if tensor.is_floating_point() else tensor.fill_(7)
    return model


@pytest.fixture(scope="module", params=["basic", "small"])
def raft(request):
    return request.param, randomised(request.param)


def write(path, naming, variant, model, prefix=""):
    own = model.state_dict()
    state = {prefix + name: own[source] for name, source in foreign_names(naming, variant, own).items()}
    torch.save(state, path)
    return state


def same(loaded, model):
    own = model.state_dict()
    return loaded.state_dict().keys() == own.keys() and all(
        torch.equal(tensor, own[name]) for name, tensor in loaded.state_dict().items()
    )


def test_official_file_holds_every_tensor_under_its_official_name(raft, tmp_path):
    variant, model = raft
    save_official(tmp_path / "raft.pth", model)
    file = torch.load(tmp_path / "raft.pth", weights_only=True)
    assert len(file) == COUNTS["official", variant]
    for own, (official, _) in NAMES[variant].items():
        assert torch.equal(file["module." + official], model.state_dict()[own]), official
    if variant == "basic":  # the shortcut's norm, under its second name
        for entry in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            twice = file[f"module.cnet.layer3.0.norm3.{entry}"]
            assert torch.equal(twice, model.state_dict()[f"context_encoder.layer3.0.downsample.1.{entry}"])


@pytest.mark.parametrize("prefix", ["module.", ""])
def test_official_round_trip(raft, tmp_path, prefix):
    variant, model = raft
    path = tmp_path / "raft.pth"
    save_official(path, model, prefix)
    info = recognise(path)
    assert (info.format, info.variant, info.feature_norm) == ("official", variant, "instance")
    around = " (module.)" if prefix else ""
    assert str(info) == f"official RAFT {variant}{around}, {COUNTS['official', variant]} tensors, feature_norm instance"
    loaded = load_raft(path, iterations=4)
    assert same(loaded, model)
    assert not loaded.training
    assert loaded.iterations == 4
    assert {parameter.device.type for parameter in loaded.parameters()} == {"cpu"}


def test_torchvision_file(raft, tmp_path):
    variant, model = raft
    state = write(tmp_path / "raft.pth", "torchvision", variant, model)
    assert len(state) == COUNTS["torchvision", variant]
    for own, (_, theirs) in NAMES[variant].items():
        assert torch.equal(state[theirs], model.state_dict()[own]), theirs
    assert str(recognise(tmp_path / "raft.pth")).startswith(f"torchvision RAFT {variant}, {len(state)} tensors")
    assert same(load_raft(tmp_path / "raft.pth"), model)


def test_lightnings_wrapper_as_of_ptlflow_in_the_old_format_of_pytorch(raft, tmp_path):
    variant, model = raft
    path = tmp_path / "raft.ckpt"
    state = write(path, "official", variant, model)
    whole = {"epoch": 3, "hyper_parameters": {"lr": 1e-4}, "state_dict": state}
    torch.save(whole, path, _use_new_zipfile_serialization=False)
    assert recognise(path).wrapping == ("state_dict",)
    assert same(load_raft(path), model)


@pytest.mark.parametrize("naming", ["official", "torchvision"])
def test_batch_norm_in_the_feature_encoder_is_known_by_its_tensors(tmp_path, naming):
    for variant in ("basic", "small"):
        model = randomised(variant, "batch")
        write(tmp_path / "raft.pth", naming, variant, model)
        assert recognise(tmp_path / "raft.pth").feature_norm == "batch"
        assert same(load_raft(tmp_path / "raft.pth"), model)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_only_instance_normalisation_is_written_officially(tmp_path, norm):
    with pytest.raises(InputError, match="normalises by instance and this model's does not"):
        save_official(tmp_path / "raft.pth", build_raft("small", norm))
    assert not (tmp_path / "raft.pth").exists()


@pytest.mark.parametrize(
    ("naming", "prefix", "lost", "misshapen"),
    [
        ("official", "module.", "cnet.layer2.0.norm3.weight", "update_block.gru.convz1.weight"),
        ("official", "", "update_block.gru.convz1.weight", "fnet.conv1.weight"),
        ("torchvision", "", "mask_predictor.conv.bias", "feature_encoder.convnormrelu.0.weight"),
    ],
)
def test_a_missing_surplus_or_misshapen_tensor_is_named_as_in_the_file(tmp_path, naming, prefix, lost, misshapen):
    path, model = tmp_path / "raft.pth", build_raft("basic")
    state = write(path, naming, "basic", model, prefix)
    for change, message in (
        ({prefix + lost: None}, f"does not fit RAFT basic by {naming} names: {prefix}{lost} is missing. The file"),
        ({prefix + "extra": torch.zeros(1)}, f": {prefix}extra is surplus. The file"),
        ({prefix + misshapen: torch.zeros(2, 3)}, f": {prefix}{misshapen} is (2, 3) in place of ("),
        ({prefix + lost: None, prefix + "extra": torch.zeros(1)}, f"{lost} is missing; {prefix}extra is surplus"),
        ({prefix + lost: "text"}, f"{prefix}{lost} is a str; every weight must be a tensor"),
    ):
        torch.save({name: tensor for name, tensor in (state | change).items() if tensor is not None}, path)
        with pytest.raises(InputError) as caught:
            load_raft(path)
        assert message in str(caught.value)
        assert str(path) in str(caught.value)


def test_a_norm_that_differs_from_itself_under_its_other_name(tmp_path):
    state = write(tmp_path / "raft.pth", "official", "basic", build_raft("basic"))
    torch.save(state | {"cnet.layer2.0.norm3.bias": torch.ones(96)}, tmp_path / "raft.pth")
    with pytest.raises(InputError, match=r"cnet\.layer2\.0\.(norm3|downsample\.1)\.bias differs from the same tensor"):
        load_raft(tmp_path / "raft.pth")


def test_a_checkpoint_of_a_training_is_read_whatever_lies_around_the_weights(raft, tmp_path):
    variant, model = raft
    path = tmp_path / "checkpoint.pth"
    moments = {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-4}]}
    for naming, prefix, keys in (
        ("torchvision", "", ["model"]),
        ("official", "module._orig_mod.", ["state", "weights"]),
        ("rwtl", "model.", []),
    ):
        content = write(path, naming, variant, model, prefix)
        for key in reversed(keys):
            content = {key: content, "optimizer": moments, "epoch": 3, "args": Namespace(lr=1e-4, name="raft")}
        torch.save(content, path)
        assert recognise(path).wrapping == (*keys, *([prefix] if prefix else []))
        assert same(load_raft(path), model)
    state = write(path, "torchvision", variant, model)
    torch.save({"model": state, "model_ema": state}, path)
    with pytest.raises(InputError, match=r"holds 2 RAFTs, in model, model_ema; save the one that you mean alone"):
        load_raft(path)


@pytest.mark.parametrize("naming", ["official", "torchvision", "rwtl"])
def test_a_file_without_the_counters_of_batchnorm(tmp_path, naming):
    model = randomised("basic", "batch")
    state = write(tmp_path / "raft.pth", naming, "basic", model)
    counters = [name for name in state if name.endswith("num_batches_tracked")]
    without = {name: tensor for name, tensor in state.items() if name not in counters}
    torch.save(without, tmp_path / "raft.pth")
    loaded = load_raft(tmp_path / "raft.pth").state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded[name], torch.zeros_like(tensor) if name.endswith("tracked") else tensor), name
    once = {name: tensor for name, tensor in state.items() if not name.endswith(".norm3.num_batches_tracked")}
    torch.save(once, tmp_path / "raft.pth")
    assert same(load_raft(tmp_path / "raft.pth"), model)  # known by its other name


def test_an_archive_of_checkpoints_is_to_be_unpacked(tmp_path):
    save_official(tmp_path / "raft-things.pth", build_raft("basic"))
    with ZipFile(tmp_path / "models.zip", "w") as archive:
        archive.write(tmp_path / "raft-things.pth", "models/raft-things.pth")
    for name, mode in {"models.tar": "w", "models.tar.gz": "w:gz"}.items():
        with tarfile.open(tmp_path / name, mode) as archive:
            archive.add(tmp_path / "raft-things.pth", "models/raft-things.pth")
    for name in ("models.zip", "models.tar", "models.tar.gz"):
        with pytest.raises(InputError, match=rf"{name} is an archive of files; unpack it, .* models/raft-things\.pth"):
            load_raft(tmp_path / name)
    with tarfile.open(tmp_path / "other.tar", "w") as archive:
        archive.add(tmp_path / "raft-things.pth", "notes")
    with pytest.raises(InputError, match=r"other\.tar cannot be read \(\w+\); is it whole") as caught:
        load_raft(tmp_path / "other.tar")
    assert "weights_only" not in str(caught.value)


def test_the_folder_of_an_artifact_is_its_model(tmp_path):
    model = randomised("small", "batch")
    save_model(tmp_path / "model.pt", "raft", {"variant": "small", "feature_norm": "batch"}, model)
    assert same(load_raft(tmp_path), model)
    (tmp_path / "model.pt").unlink()
    with pytest.raises(InputError, match=r"is a folder of no artifact, without model\.pt; name a folder that"):
        load_raft(tmp_path)
    (tmp_path / "status.json").write_text('{"state": "complete", "kind": "recording"}')
    with pytest.raises(InputError, match=r"is a folder of the stage recording, without model\.pt"):
        load_raft(tmp_path)
