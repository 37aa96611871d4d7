"""The cell model and its noise, without a compiler."""

import numpy as np
import pytest
from brian2 import Network, NeuronGroup, ms, mV, prefs, second

from rwtl.errors import InputError
from rwtl.waves.lattice import build_lattice
from rwtl.waves.noise import standard_normal
from rwtl.waves.parameters import SacParameters
from rwtl.waves.sac import PARAMETER_UNITS, RESTING_STATE, SacState, nM


@pytest.fixture(autouse=True)
def numpy_target():
    before = prefs.codegen.target
    prefs.codegen.target = "numpy"
    yield
    prefs.codegen.target = before


def run(seconds: float, rows: int = 1, columns: int = 1, step: float = 1e-4, **lattice: object) -> NeuronGroup:
    """A lattice after some model time, on Brian2's NumPy target in double precision."""
    cells, objects = build_lattice(rows, columns, step, lattice.pop("seed", 0), **lattice)
    Network(objects).run(seconds * second, namespace={})
    return cells


def test_a_free_cell_reaches_the_check_value():
    """Value of an independent implementation: midpoint, 0.1 ms, 20 ms from a state far from rest."""
    free = SacParameters(V_L=-70.0, sigma=0.0, g_A=0.0)
    cells = run(0.02, cell=free, start=SacState(v=-70.0, n=0.0, r=0.2, s=0.0, c=32.6, a=0.0))
    assert float(cells.v[0] / mV) == pytest.approx(-64.1199, abs=1e-4)
    assert float(cells.c[0] / nM) == pytest.approx(33.9635, abs=1e-4)
    assert float(cells.n[0]) == pytest.approx(1.350e-05, abs=1e-8)


def test_a_cell_without_noise_stays_at_rest():
    cells = run(0.2, step=2e-4, cell=SacParameters(sigma=0.0))
    assert float(cells.v[0] / mV) == pytest.approx(RESTING_STATE.v, abs=1e-3)
    assert float(cells.c[0] / nM) == pytest.approx(RESTING_STATE.c, abs=1e-3)
    assert float(cells.r[0]) == pytest.approx(RESTING_STATE.r, abs=1e-6)
    assert float(cells.s[0]) == pytest.approx(RESTING_STATE.s, abs=1e-6)
    assert float(cells.a[0] / nM) == pytest.approx(RESTING_STATE.a, abs=1e-5)


def test_cells_hear_their_four_neighbours_and_nothing_beyond_the_border():
    cells, objects = build_lattice(3, 4, 1e-4, 0, SacParameters())
    acetylcholine = np.arange(1, 13, dtype=float).reshape(3, 4)
    cells.a = acetylcholine.ravel() * nM
    Network(objects).run(0.1 * ms, namespace={})
    release = np.pad(acetylcholine**2 / (1 + acetylcholine**2), 1)
    expected = release[:-2, 1:-1] + release[2:, 1:-1] + release[1:-1, :-2] + release[1:-1, 2:]
    np.testing.assert_allclose(np.array(cells.acetylcholine_input).reshape(3, 4), expected, atol=1e-12)


def test_the_noise_current_has_the_strength_sigma():
    """With the other currents off, V diffuses: its variance after a time t is σ² t / C_m²."""
    blocked = SacParameters(g_L=0.0, g_C=0.0, g_K=0.0, g_sAHP=0.0, g_A=0.0, sigma=2.5)
    cells = run(0.02, rows=50, columns=60, cell=blocked)
    walk = np.array(cells.v / mV) - RESTING_STATE.v
    assert np.var(walk) == pytest.approx(2.5**2 * 20 / 22**2, rel=0.1)
    assert abs(walk.mean()) < 4 * walk.std() / np.sqrt(walk.size)


def test_noise_is_standard_normal_and_independent():
    cells, steps = np.arange(2000), np.arange(500)
    noise = standard_normal(7, cells[:, None], steps[None, :]).astype(float)  # (cell, step)
    error = 5 / np.sqrt(noise.size)
    assert abs(noise.mean()) < error
    assert noise.var() == pytest.approx(1, abs=np.sqrt(2) * error)
    assert (noise**3).mean() == pytest.approx(0, abs=np.sqrt(15) * error)
    assert (noise**4).mean() == pytest.approx(3, abs=np.sqrt(96) * error)
    assert noise.mean(axis=0).std() == pytest.approx(1 / np.sqrt(2000), rel=0.2)
    assert noise.mean(axis=1).std() == pytest.approx(1 / np.sqrt(500), rel=0.2)
    neighbours = {
        "next cell": noise[1:] * noise[:-1],
        "next row of cells": noise[128:] * noise[:-128],
        "next step": noise[:, 1:] * noise[:, :-1],
        "next seed": noise * standard_normal(8, cells[:, None], steps[None, :]),
    }
    for name, product in neighbours.items():
        assert abs(product.mean()) < error, name


def test_every_parameter_has_a_unit():
    assert set(PARAMETER_UNITS) == set(SacParameters.__dataclass_fields__)


@pytest.mark.parametrize(
    ("name", "value"), [("C_m", 0.0), ("tau_C", -1.0), ("sigma", -2.5), ("g_A", -0.1), ("V_L", float("nan"))]
)
def test_impossible_parameters_are_refused(name, value):
    with pytest.raises(InputError, match=rf"cell\.{name} is {value}"):
        SacParameters(**{name: value})
