import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from rwtl.learning.metrics import FlowMetrics, end_point_error, sequence_loss


def test_end_point_error_and_thresholds_over_valid_pixels():
    flow = torch.zeros(1, 2, 1, 4)
    predicted = torch.zeros(1, 2, 1, 4)
    predicted[0, :, 0] = torch.tensor([[0.0, 3.0, 0.6, 100.0], [0.5, 4.0, 0.8, 0.0]])
    valid = torch.tensor([[[1.0, 1.0, 1.0, 0.0]]])
    assert end_point_error(predicted, flow)[0, 0].tolist() == pytest.approx([0.5, 5.0, 1.0, 100.0])
    metrics = FlowMetrics()
    metrics.update(predicted, flow, valid)
    found = {name: float(value) for name, value in metrics.compute().items()}
    # An error of exactly n px is not below n px.
    expected = {"epe": 6.5 / 3, "1px": 100 / 3, "3px": 200 / 3, "5px": 200 / 3, "pixels": 3}
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_errors_by_speed_and_outliers_as_sintel_and_kitti_count_them():
    flow = torch.zeros(1, 2, 1, 6)
    flow[0, 0, 0] = torch.tensor([0.0, 9.99, 10.0, 39.0, 40.0, 100.0])
    predicted = flow.clone()
    predicted[0, 1, 0] = torch.tensor([1.0, 3.5, 2.9, 3.0, 6.0, 4.5])  # the last is below 5 % of its speed
    metrics = FlowMetrics()
    metrics.update(predicted, flow, torch.ones(1, 1, 6))
    found = {name: float(value) for name, value in metrics.compute().items()}
    assert (found["s0_10"], found["s10_40"], found["s40"]) == pytest.approx((2.25, 2.95, 5.25))
    assert [found[f"pixels_{name}"] for name in ("s0_10", "s10_40", "s40")] == [2, 2, 2]
    assert found["fl_all"] == pytest.approx(100 * 2 / 6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_an_estimate_that_is_not_finite_is_an_outlier_and_below_no_bound(bad):
    flow = torch.full((1, 2, 1, 4), 2.0)
    predicted = flow.clone()
    predicted[0, 0, 0, :3] = bad
    metrics = FlowMetrics()
    metrics.update(predicted, flow, torch.tensor([[[1.0, 1.0, 0.0, 1.0]]]))
    found = {name: float(value) for name, value in metrics.compute().items()}
    assert found["fl_all"] == pytest.approx(100 * 2 / 3)
    assert [found[f"{bound}px"] for bound in (1, 3, 5)] == pytest.approx(3 * [100 / 3])
    assert not np.isfinite(found["epe"]) and not np.isfinite(found["s0_10"])


def test_speeds_that_do_not_occur_have_no_error():
    metrics = FlowMetrics()
    metrics.update(torch.ones(1, 2, 1, 1), torch.zeros(1, 2, 1, 1), torch.ones(1, 1, 1))
    assert metrics.compute()["s40"].isnan() and metrics.compute()["pixels_s40"] == 0


def test_metrics_pool_pixels_over_batches_of_different_size():
    metrics = FlowMetrics()
    for width, error in ((1, 4.0), (3, 0.0)):
        predicted = torch.zeros(1, 2, 1, width)
        predicted[:, 0] = error
        metrics.update(predicted, torch.zeros_like(predicted), torch.ones(1, 1, width))
    assert float(metrics.compute()["epe"]) == pytest.approx(1.0)


def test_sequence_loss_by_hand():
    flow = torch.zeros(1, 2, 1, 2)
    predictions = [torch.full((1, 2, 1, 2), 2.0), torch.full((1, 2, 1, 2), -1.0)]
    valid = torch.tensor([[[1.0, 0.0]]])
    # Half of the pixels are valid, but the mean is over all: 0.5 · (γ·2 + 1).
    assert float(sequence_loss(predictions, flow, valid, gamma=0.8)) == pytest.approx(0.5 * (0.8 * 2 + 1))


@pytest.mark.parametrize(("length", "counts"), [(399.9, True), (400.0, False), (float("inf"), False)])
def test_the_loss_leaves_out_displacements_of_400_px(length, counts):
    flow = torch.zeros(1, 2, 1, 1)
    flow[0, 0] = length
    loss = float(sequence_loss([torch.zeros(1, 2, 1, 1)], flow, torch.ones(1, 1, 1), gamma=0.8))
    assert loss == pytest.approx(length / 2 if counts else 0)


def test_annotations_of_tensors_are_checked_while_testing():
    with pytest.raises(TypeCheckError, match="flow"):
        end_point_error(torch.zeros(2, 2, 4, 4), torch.zeros(3, 2, 4, 4))
