import pytest
import torch

from rwtl.training.metrics import FlowMetrics, end_point_error, sequence_loss


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
    assert found == pytest.approx({"epe": 6.5 / 3, "1px": 100 / 3, "3px": 200 / 3, "5px": 200 / 3})


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
