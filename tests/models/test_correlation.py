"""Correlation on demand: the numbers of all pairs, without their memory."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rwtl.learning.metrics import sequence_loss
from rwtl.models import correlation as on_demand_correlation
from rwtl.models.correlation import AllPairsCorrelation, OnDemandCorrelation, pixel_grid
from rwtl.models.raft import build_raft


class LargestTensor(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that any operation makes."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        sizes = [leaf.untyped_storage().nbytes() // 4 for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)]
        self.elements = max([self.elements, *sizes])
        return out


def looked_up_with_gradients(correlation, features, coordinates):
    """Two lookups, the second elsewhere, with the gradients of the features."""
    features = features.clone().requires_grad_()
    prepared = correlation.prepare(*features)
    first, prepared = correlation.lookup(prepared, coordinates)
    second, _ = correlation.lookup(prepared, coordinates.flip(-1))
    weights = torch.linspace(-1, 1, first.numel()).view(first.shape)
    ((first * weights).sum() + (second**2).sum()).backward()
    return first.detach(), second.detach(), features.grad


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 7), (12, 16)])
@pytest.mark.parametrize("chunk", [1, 2**20])
def test_on_demand_equals_all_pairs_with_gradients(size, chunk, monkeypatch):
    """Windows also reach out of the map and lie outside altogether."""
    monkeypatch.setattr(on_demand_correlation, "_CPU_BYTES", chunk)
    torch.manual_seed(0)
    features = torch.randn(2, 2, 6, *size)
    coordinates = pixel_grid(2, *size, device=torch.device("cpu")) + 8 * torch.randn(2, 2, *size)
    coordinates[0, 0, 0, 0] = 1e4
    found = looked_up_with_gradients(OnDemandCorrelation(radius=2), features, coordinates)
    expected = looked_up_with_gradients(AllPairsCorrelation(radius=2), features, coordinates)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", ["basic", "small"])
def test_raft_has_the_same_flow_and_gradients_on_demand(variant):
    torch.manual_seed(0)
    images, flow = 255 * torch.rand(2, 1, 3, 48, 64), torch.randn(1, 2, 48, 64)
    results = []
    for kind in ("all_pairs", "on_demand"):
        torch.manual_seed(1)
        model = build_raft(variant, correlation=kind)
        flows = model(*images, iterations=4)
        sequence_loss(flows, flow, torch.ones(1, 48, 64), 0.8).backward()
        results.append((flows[-1].detach(), [parameter.grad for parameter in model.parameters()]))
    (flow1, gradients1), (flow2, gradients2) = results
    assert (flow1 - flow2).abs().max() < 1e-3
    for one, other in zip(gradients1, gradients2, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * float(one.abs().max()) + 1e-6)


@pytest.mark.parametrize(("kind", "holds"), [(AllPairsCorrelation, True), (OnDemandCorrelation, False)])
def test_the_volume_is_held_only_by_all_pairs(kind, holds, monkeypatch):
    monkeypatch.setattr(on_demand_correlation, "_CPU_BYTES", 2**16)
    size = (36, 48)
    features = torch.randn(2, 1, 4, *size)
    coordinates = pixel_grid(1, *size, device=torch.device("cpu")).clone()
    with LargestTensor() as largest:
        looked_up_with_gradients(kind(levels=4, radius=3), features, coordinates)
    assert (largest.elements >= (36 * 48) ** 2) == holds


def test_the_gradient_of_many_lookups_is_their_sum():
    """The chain that hands one gradient back adds up what lookups side by side would."""
    torch.manual_seed(0)
    features = torch.randn(2, 1, 5, 6, 8)
    correlation = AllPairsCorrelation(levels=3, radius=1)
    coordinates = [pixel_grid(1, 6, 8, torch.device("cpu")) + torch.randn(1, 2, 6, 8) for _ in range(3)]

    def gradient(chained):
        leaf = features.clone().requires_grad_()
        prepared, total = correlation.prepare(*leaf), 0
        for where in coordinates:
            found, passed_on = correlation.lookup(prepared, where)
            prepared = passed_on if chained else prepared
            total = total + (found**2).sum()
        total.backward()
        return leaf.grad

    torch.testing.assert_close(gradient(chained=True), gradient(chained=False), rtol=1e-4, atol=1e-5)
