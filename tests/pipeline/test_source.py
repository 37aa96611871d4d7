"""What weights can be transferred from, on disk."""

import json

import pytest
import torch

from rwtl.errors import InputError
from rwtl.models.checkpoints import foreign_names, save_model, save_official
from rwtl.models.next_frame import build_next_frame
from rwtl.models.raft import build_raft
from rwtl.pipeline.source import load_source


def equal(weights, model):
    state = model.state_dict()
    return list(weights) == list(state) and all(torch.equal(weights[name], state[name]) for name in state)


def artifact(folder, kind, arguments, model, **status):
    save_model(folder / "model.pt", kind, arguments, model)
    (folder / "status.json").write_text(json.dumps({"state": "complete", "values": {}} | status))
    return folder


def test_a_next_frame_artifact_says_how_it_was_trained(tmp_path):
    arguments = {"variant": "small", "feature_norm": "batch", "iterations": 2, "colour": "blue_red"}
    arguments |= {"decoder": "direct", "context": "context_encoder"}
    model = build_next_frame(**arguments)
    other_colour = {"values": {"clips": {"colour": "grey"}}}
    folder = artifact(tmp_path, "next_frame", arguments, model, **other_colour)
    for path in (folder, folder / "model.pt"):
        source = load_source(path)
        assert (source.variant, source.feature_norm, source.colour) == ("small", "batch", "blue_red")
        assert source.name == str(path) and equal(source.weights, model)
        assert any(name.startswith("context_encoder.") for name in source.weights)


def test_the_colour_is_the_artifacts_where_the_model_does_not_say_it(tmp_path):
    arguments = {"variant": "small", "feature_norm": "batch", "iterations": 2}
    model = build_raft(**arguments)
    folder = artifact(tmp_path, "raft", arguments, model, values={"clips": {"colour": "grey"}})
    assert load_source(folder).colour == load_source(folder / "model.pt").colour == "grey"
    assert equal(load_source(folder).weights, model)
    assert load_source(artifact(tmp_path, "raft", arguments, model)).colour is None


@pytest.mark.parametrize("variant", ["basic", "small"])
@pytest.mark.parametrize("naming", ["official", "torchvision"])
def test_a_raft_of_others_is_a_source(naming, variant, tmp_path):
    model, file = build_raft(variant), tmp_path / "raft.pth"
    if naming == "official":
        save_official(file, model)
    else:
        state = model.state_dict()
        torch.save({name: state[own] for name, own in foreign_names(naming, variant, state).items()}, file)
    source = load_source(file)
    assert (source.variant, source.feature_norm, source.colour) == (variant, "instance", None)
    assert set(source.weights) == set(model.state_dict())
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in source.weights.items())


def test_a_folder_without_a_finished_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"folder of no artifact, without model\.pt; name a folder that"):
        load_source(tmp_path)
    with pytest.raises(InputError, match=r"nowhere does not exist"):
        load_source(tmp_path / "nowhere")
    arguments = {"variant": "small", "feature_norm": "batch", "iterations": 2}
    model = build_raft(**arguments)
    artifact(tmp_path, "raft", arguments, model, state="running")
    with pytest.raises(InputError, match="is running, not complete"):
        load_source(tmp_path)
    (tmp_path / "status.json").write_text("{")
    with pytest.raises(InputError, match=r"status\.json is damaged"):
        load_source(tmp_path)


def test_a_file_that_is_no_source_is_refused_and_runs_no_code(tmp_path):
    file = tmp_path / "file.pt"
    torch.save({"weight": torch.zeros(1)}, file)
    with pytest.raises(InputError, match="holds no RAFT that is known"):
        load_source(file)
    torch.save({"kind": "gan", "arguments": {}, "weights": {}}, file)
    with pytest.raises(InputError, match="holds a gan model; known are raft, next_frame"):
        load_source(file)
    model = build_next_frame("small", "batch", 2)
    save_model(file, "next_frame", {"variant": "small", "feature_norm": "instance", "iterations": 2}, model)
    with pytest.raises(InputError, match=r"feature_encoder\.norm1\.weight is surplus"):
        load_source(file)
    torch.save({"kind": "raft", "arguments": {}, "weights": {}, "model": torch.nn.Linear(1, 1)}, file)
    with pytest.raises(InputError, match=r"holds torch\.nn\.modules\.linear\.Linear.*could run code"):
        load_source(file)


def test_a_source_that_diverged_is_refused(tmp_path):
    model = build_raft("small")
    with torch.no_grad():
        model.context_encoder.conv2.bias[1] = float("nan")
    save_official(tmp_path / "raft.pth", model)
    with pytest.raises(InputError, match=r"raft\.pth: module\.cnet\.conv2\.bias holds values that are not finite"):
        load_source(tmp_path / "raft.pth")
