"""The warm start against its definition, pixel by pixel."""

import math

import torch

from rwtl.models.parts import carry_forward


def defined(flow):
    """Every pixel takes the flow of the arrival that is nearest to it, of those that stay in the frame."""
    _, height, width = flow.shape
    arrivals = []
    for row in range(height):
        for column in range(width):
            u, v = flow[:, row, column].tolist()
            if 0 < column + u < width and 0 < row + v < height:
                arrivals.append((column + u, row + v, u, v))
    out = torch.zeros_like(flow)
    for row in range(height):
        for column in range(width):
            if arrivals:
                nearest = min(arrivals, key=lambda a: math.hypot(a[0] - column, a[1] - row))
                out[:, row, column] = torch.tensor(nearest[2:])
    return out


def test_each_pixel_gets_the_flow_of_the_nearest_arrival():
    torch.manual_seed(0)
    flows = 2 * torch.randn(2, 2, 6, 9)
    found = carry_forward(flows)
    for one, flow in zip(found, flows, strict=True):
        torch.testing.assert_close(one, defined(flow))


def test_flow_that_leaves_the_frame_is_forgotten():
    assert carry_forward(torch.full((1, 2, 4, 5), 100.0)).abs().sum() == 0
