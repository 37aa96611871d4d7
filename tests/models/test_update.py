"""The recurrent update against its definition, one convolution of everything at a time."""

import pytest
import torch

from rwtl.models.update import ConvGRU, SeparableConvGRU


def defined(gru: ConvGRU, h: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """RAFT, section 3.3, equations 3 to 6."""
    hx = torch.cat((h, x), dim=1)
    z, r = torch.sigmoid(gru.convz(hx)), torch.sigmoid(gru.convr(hx))
    q = torch.tanh(gru.convq(torch.cat((r * h, x), dim=1)))
    return (1 - z) * h + z * q


def two_iterations_of_both(gru, units):
    """Return hidden state and gradients after two iterations: as bound to the context, and by the definition."""
    h, context, motion = torch.randn(2, 6, 5, 7), torch.randn(2, 4, 5, 7), torch.randn(2, 2, 3, 5, 7)

    def gradients(out):
        gru.zero_grad()
        out.square().sum().backward()
        return [out.detach(), *(parameter.grad.clone() for parameter in gru.parameters())]

    shared, bound, expected = gru.bind(context), h, h
    for iteration in motion:
        bound = gru(bound, iteration, shared)
        for unit in units:
            expected = defined(unit, expected, torch.cat((context, iteration), dim=1))
    return gradients(bound), gradients(expected)


@pytest.mark.parametrize("kernel", [(3, 3), (1, 5)])
def test_conv_gru_follows_its_definition_with_gradients(kernel):
    torch.manual_seed(0)
    gru = ConvGRU(hidden=6, context=4, motion=3, kernel=kernel)
    for bound, expected in zip(*two_iterations_of_both(gru, [gru]), strict=True):
        torch.testing.assert_close(bound, expected, rtol=1e-4, atol=1e-5)


def test_separable_gru_goes_along_rows_and_then_along_columns():
    torch.manual_seed(0)
    gru = SeparableConvGRU(hidden=6, context=4, motion=3)
    for bound, expected in zip(*two_iterations_of_both(gru, [gru.horizontal, gru.vertical]), strict=True):
        torch.testing.assert_close(bound, expected, rtol=1e-4, atol=1e-5)
