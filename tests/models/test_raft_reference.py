"""RAFT against the independent reference of `reference_raft.py`, which reads files of the official format."""

import copy

import numpy as np
import pytest
import reference_raft as reference
import torch
from torch.utils.data import default_collate

from rwtl.flow.sample import flow_sample
from rwtl.flow.scenes.dataset import ProceduralFlow
from rwtl.learning.metrics import sequence_loss
from rwtl.models.checkpoints import load_raft, save_official
from rwtl.models.raft import build_raft

GAMMA = 0.8


@pytest.fixture(scope="module")
def scenes():
    dataset = ProceduralFlow(2, 64, 96, seed=1)
    return default_collate([dataset[0], dataset[1]])


def randomised(variant):
    """RAFT with random weights: statistics of BatchNorm away from 0 and 1, and displacements of tens of pixels."""
    torch.manual_seed(0)
    model = build_raft(variant)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.running_mean.normal_(0, 0.3)
                layer.running_var.uniform_(0.5, 2)
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.normal_(0, 0.2)
        model.update_block.flow_head.conv2.weight *= 3
    return model


def trained(variant, scenes):
    """The same after three steps of training."""
    model = randomised(variant).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-5)
    for _ in range(3):
        flows = model(scenes.image1, scenes.image2, iterations=3)
        optimizer.zero_grad()
        sequence_loss(flows, scenes.flow, scenes.valid, GAMMA).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model


@pytest.fixture(scope="module", params=["basic", "small"])
def files(request, scenes, tmp_path_factory):
    """Files of the official format: weights at random and after training."""
    folder = tmp_path_factory.mktemp(request.param)
    save_official(folder / "random.pth", randomised(request.param))
    save_official(folder / "trained.pth", trained(request.param, scenes))
    return folder


def distance(flows, expected):
    return max(float((flow - exact).abs().max()) for flow, exact in zip(flows, expected, strict=True))


@pytest.mark.parametrize(("weights", "size"), [("random", (64, 96)), ("trained", (61, 90))])
@torch.no_grad()
@pytest.mark.slow
def test_flow_after_every_one_of_32_iterations(files, scenes, weights, size):
    image1, image2 = (image[..., : size[0], : size[1]] for image in (scenes.image1, scenes.image2))
    path = files / f"{weights}.pth"
    expected = reference.raft(reference.official_state(path), image1.double(), image2.double(), 32)
    lengths = torch.linalg.vector_norm(torch.stack(expected), dim=2)
    assert lengths[31].max() > 16, "displacements are to cross several pixels of the coarse grid"
    assert lengths[11].median() < 64, "most are to stay within the image for long"
    model = load_raft(path)
    assert distance(model(image1, image2, iterations=32), expected) < 1e-3
    assert distance([model.estimate(image1, image2, iterations=12).flow], [expected[11]]) < 1e-3
    on_demand = load_raft(path, correlation="on_demand")
    assert distance([on_demand.estimate(image1, image2, iterations=12).flow], [expected[11]]) < 1e-3


@pytest.mark.parametrize("correlation", ["all_pairs", "on_demand"])
@pytest.mark.slow
def test_gradients_of_the_sequence_loss_by_every_parameter(files, scenes, tmp_path, correlation):
    state = reference.official_state(files / "random.pth")
    image1, image2 = scenes.image1.double(), scenes.image2.double()
    flow = scenes.flow.double()
    valid = (torch.arange(64 * 96).reshape(64, 96) % 7 > 0).expand(2, 64, 96)
    expected = reference.sequence_loss(reference.raft(state, image1, image2, 3, training=True), flow, valid, GAMMA)
    expected.backward()

    model = load_raft(files / "random.pth", correlation=correlation).train()
    loss = sequence_loss(model(scenes.image1, scenes.image2, iterations=3), scenes.flow, valid.float(), GAMMA)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)

    found, exact = official_gradients(model, tmp_path), gradients_of(state)
    assert len(exact) == len(list(model.parameters()))
    assert_close(
        found, exact, 0.02
    )  # in single precision a ReLU or two of thousands are on the other side of their kink
    assert_close(found, {name: exact[name] for name in exact if name.startswith("update_block.")}, 1e-3)


@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_the_encoders_in_double_precision(files, scenes, tmp_path, training):
    state = reference.official_state(files / "random.pth")
    model = load_raft(files / "random.pth").double().train(training)
    images = 2 * scenes.image1.double() / 255 - 1
    for name, encoder in (("fnet", model.feature_encoder), ("cnet", model.context_encoder)):
        encoder(images).sin().sum().backward()
        reference.encoder(state, name, images, training).sin().sum().backward()
    for parameter in model.update_block.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for parameter in model.upsampler.parameters():
        parameter.grad = torch.zeros_like(parameter)
    assert_close(official_gradients(model, tmp_path), gradients_of(state), 1e-9)


def official_gradients(model, folder):
    """The gradients of a model's parameters by official names: a model that has them as weights, saved officially."""
    gradients = copy.deepcopy(model)
    for target, source in zip(gradients.parameters(), model.parameters(), strict=True):
        target.data = source.grad
    save_official(folder / "gradients.pth", gradients, prefix="")
    return torch.load(folder / "gradients.pth", weights_only=True)


def gradients_of(state):
    return {name: tensor.grad for name, tensor in state.items() if tensor.grad is not None}


def assert_close(found, exact, tolerance):
    whole = torch.stack([gradient.norm() for gradient in exact.values()]).norm()
    for name, gradient in exact.items():
        # Biases before a normalisation have no gradient but rounding, hence the second term.
        assert (found[name] - gradient).norm() < tolerance * (gradient.norm() + 1e-3 * whole), name


def test_loss_leaves_out_what_is_unknown_or_too_long():
    generator = np.random.default_rng(0)
    truth = generator.normal(0, 300, (2, 16, 24)).astype(np.float32)  # about four in ten are beyond 400 px
    truth[:, 3, 4] = 1e10
    image = np.zeros((3, 16, 24), np.float32)
    sample = default_collate([flow_sample(image, image, truth, np.ones_like(truth[0]))])
    flows = [torch.from_numpy(generator.normal(0, 50, (1, 2, 16, 24)).astype(np.float32)) for _ in range(3)]
    expected = reference.sequence_loss(flows, torch.from_numpy(truth)[None], torch.ones(1, 16, 24), GAMMA)
    assert 0.2 < np.mean(np.hypot(*truth) < 400) < 0.8
    assert sequence_loss(flows, sample.flow, sample.valid, GAMMA).item() == pytest.approx(expected.item(), rel=1e-5)
