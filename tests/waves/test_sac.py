"""The cell model, its coupling and its noise, on Brian2's NumPy target in double precision."""

import hashlib

import numpy as np
import pytest
from brian2 import Network, NeuronGroup, mV, prefs, second

from rwtl.errors import InputError
from rwtl.waves.config import RecordingConfig
from rwtl.waves.model import functions as noise
from rwtl.waves.model import lattice
from rwtl.waves.model.equations import SAC_EQUATIONS, UNITS, nM
from rwtl.waves.model.functions import standard_normal
from rwtl.waves.model.lattice import build_lattice
from rwtl.waves.model.parameters import MODEL_VERSION, PARAMETERS, PROVENANCE, SacParameters
from rwtl.waves.model.state import resting_state, uniform_snapshot
from rwtl.waves.model.tissue import CouplingConfig, cell_values, neighbours
from rwtl.waves.simulation import first_snapshot


@pytest.fixture(autouse=True)
def numpy_target():
    before = prefs.codegen.target
    prefs.codegen.target = "numpy"
    yield
    prefs.codegen.target = before


def config_of(rows: int = 1, columns: int = 1, step: float = 1e-4, **values: object) -> RecordingConfig:
    values = {"cell": SacParameters(), "seed": 0} | values
    return RecordingConfig(rows, columns, 50.0, 1.0, 0.0, step, 0.1, **values)


def run(seconds: float, config: RecordingConfig, start=None) -> NeuronGroup:
    """The lattice after some model time."""
    cells, objects = build_lattice(config, start or first_snapshot(config))
    Network(objects).run(seconds * second, namespace={})
    return cells


def test_a_free_cell_reaches_the_check_value():
    """Value of an independent implementation: midpoint, 0.1 ms, 20 ms from a state far from rest."""
    free = SacParameters(V_L=-70.0, sigma=0.0, g_A=0.0)
    start = uniform_snapshot(1, 1, {"v": -70.0, "n": 0.0, "r": 0.2, "s": 0.0, "c": 32.6, "a": 0.0})
    cells = run(0.02, config_of(cell=free), start)
    assert float(cells.v[0] / mV) == pytest.approx(-64.1199, abs=1e-4)
    assert float(cells.c[0] / nM) == pytest.approx(33.9635, abs=1e-4)
    assert float(cells.n[0]) == pytest.approx(1.350e-05, abs=1e-8)


def test_the_rest_is_that_of_the_model():
    rest = resting_state(SacParameters())
    expected = {"v": -62.95, "n": 1.95e-5, "c": 103.4, "r": 0.221, "s": 0.067, "a": 0.027}
    assert rest == {name: pytest.approx(value, rel=0.01) for name, value in expected.items()}
    cells = run(0.2, config_of(step=2e-4, cell=SacParameters(sigma=0.0)))
    for name, unit in {"v": mV, "n": 1, "r": 1, "s": 1, "c": nM, "a": nM}.items():
        assert float(getattr(cells, name)[0] / unit) == pytest.approx(rest[name], rel=1e-4), name


def test_currents_that_balance_nowhere_are_refused():
    with pytest.raises(InputError, match=r"balance at no potential from -140 to 50 mV: check .*cell\.V_L = 90"):
        resting_state(SacParameters(V_L=90.0, g_L=100.0))


@pytest.mark.parametrize("boundary", ["open", "periodic"])
@pytest.mark.parametrize("count", [4, 8])
def test_cells_hear_their_neighbours_with_the_weight_of_the_direction(boundary, count):
    """Against the sum by its definition, cell by cell."""
    coupling = CouplingConfig(neighbours=count, boundary=boundary, bias=[0.3, -0.2], anisotropy=0.1)
    config = config_of(rows=3, columns=4, coupling=coupling)
    acetylcholine = np.arange(1, 13, dtype=float).reshape(3, 4)
    start = first_snapshot(config)
    start.values["a"][:] = acetylcholine * 1e-6
    cells = run(1e-4, config, start)
    release = acetylcholine**2 / (1 + acetylcholine**2)
    expected = np.zeros((3, 4))
    for row, column in np.ndindex(3, 4):
        for down, right in np.ndindex(3, 3):
            down, right = down - 1, right - 1
            distance = np.hypot(down, right)
            if distance == 0 or (count == 4 and distance > 1):
                continue
            there = (row + down, column + right)
            if boundary == "periodic":
                there = (there[0] % 3, there[1] % 4)
            elif not (0 <= there[0] < 3 and 0 <= there[1] < 4):
                continue
            travel = np.array([-right, -down]) / distance  # from the releasing to the hearing cell
            weight = 1 + travel @ [0.3, -0.2] + 0.1 * (travel[0] ** 2 - travel[1] ** 2)
            expected[row, column] += weight * release[there]
    np.testing.assert_allclose(np.array(cells.acetylcholine_input).reshape(3, 4), expected, rtol=1e-12)


def test_a_cell_is_not_its_own_neighbour():
    for boundary in ("open", "periodic"):
        links = neighbours(1, 5, CouplingConfig(boundary=boundary))
        assert not links["above"][1].any() and not links["below"][1].any()
        assert links["left"][1].sum() == (5 if boundary == "periodic" else 4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"neighbours": 6}, r"neighbours is 6; choose one of 4, 8"),
        ({"boundary": "reflecting"}, r"boundary is 'reflecting'; choose one of open, periodic"),
        ({"bias": [1.0]}, r"bias is \[1\.0\]; it must hold at least 2"),
        ({"bias": [1.5, 0.0]}, r"bias \[1\.5, 0\.0\] .*neighbour right the weight -0\.5; it must not be negative"),
        ({"anisotropy": 1.2}, r"anisotropy 1\.2 .*neighbour above the weight -0\.2"),
    ],
)
def test_impossible_couplings_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        CouplingConfig(**values)


def test_the_noise_current_has_the_strength_sigma():
    """With the other currents off, V diffuses: its variance after a time t is σ² t / C_m²."""
    blocked = SacParameters(g_L=0.0, g_C=0.0, g_K=0.0, g_sAHP=0.0, g_A=0.0, sigma=2.5)
    config = config_of(rows=50, columns=60, cell=blocked)
    start = uniform_snapshot(50, 60, resting_state(SacParameters()))
    walk = np.array(run(0.02, config, start).v / mV) - start.values["v"].ravel() * 1e3
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


def test_every_parameter_has_a_unit_a_meaning_and_a_provenance():
    assert set(PARAMETERS) == set(SacParameters.__dataclass_fields__)
    for name, parameter in PARAMETERS.items():
        assert parameter.unit in UNITS and parameter.meaning, name
        default = SacParameters.__dataclass_fields__[name].default
        assert parameter.provenance(default) in PROVENANCE.values(), name
    assert PARAMETERS["g_C"].provenance(11.0) == "of this configuration"


def test_a_change_of_the_model_needs_a_new_version():
    """Recordings name the version of the model that made them. Whoever changes what follows raises MODEL_VERSION in
    parameters.py, unless the calcium stays the same to rounding, and puts the new digest here."""
    text = SAC_EQUATIONS + lattice._COUPLING_EQUATIONS + lattice._RELEASE + noise._CPP_NOISE
    digest = hashlib.sha256("".join(text.split()).encode()).hexdigest()[:8]
    assert (MODEL_VERSION, digest) == (2, "a4a32972")


def test_cells_differ_by_the_spread():
    mean = SacParameters()
    values = cell_values(20000, mean, {"g_A": 0.01, "V_L": 0.5}, seed=3)
    assert set(values) == {"g_A", "V_L"}
    for name, deviation in (("g_A", 0.01), ("V_L", 0.5)):
        drawn = values[name] - getattr(mean, name)
        assert drawn.mean() == pytest.approx(0, abs=0.03 * deviation)
        assert drawn.std() == pytest.approx(0.9866 * deviation, rel=0.02)  # of a normal cut at 3 deviations
        assert np.abs(drawn).max() < 3 * deviation
    assert abs(np.corrcoef(values["g_A"], values["V_L"])[0, 1]) < 0.03
    np.testing.assert_array_equal(cell_values(20000, mean, {"V_L": 0.5}, seed=3)["V_L"], values["V_L"])
    assert (cell_values(20000, mean, {"V_L": 0.5}, seed=4)["V_L"] != values["V_L"]).all()


def test_each_cell_is_simulated_with_its_own_parameters():
    config = config_of(rows=2, columns=3, spread={"C_m": 2.0, "I_ext": 0.5}, lattice_seed=5)
    cells, _ = build_lattice(config, first_snapshot(config))
    expected = cell_values(6, config.cell, config.spread, 5)
    np.testing.assert_allclose(np.array(cells.C_m) * 1e12, expected["C_m"])
    np.testing.assert_allclose(np.array(cells.I_ext) * 1e12, expected["I_ext"])
    assert np.unique(expected["C_m"]).size == 6


@pytest.mark.parametrize(
    ("spread", "message"),
    [
        ({"g_a": 0.1}, r"spread\.g_a: there is no such parameter; choose one of C_m, g_L"),
        ({"g_A": -0.1}, r"spread\.g_A is -0\.1; it must not be negative"),
        ({"C_m": 8.0}, r"spread\.C_m is 8\.0 around a mean of 22\.0 pF: at 3 .* C_m is -2; stay below 7\.333"),
    ],
)
def test_impossible_spreads_are_refused(spread, message):
    with pytest.raises(InputError, match=rf"recording\.{message}"):
        config_of(spread=spread)


@pytest.mark.parametrize(
    ("name", "value"), [("C_m", 0.0), ("tau_C", -1.0), ("sigma", -2.5), ("g_A", -0.1), ("V_L", float("nan"))]
)
def test_impossible_parameters_are_refused(name, value):
    with pytest.raises(InputError, match=rf"cell\.{name} is {value}"):
        SacParameters(**{name: value})


def test_a_frame_of_uneven_length_still_ends_with_whole_refreshes():
    for step, interval, expected in ((2e-4, 0.1, 5), (1e-4, 0.1, 10), (2e-4, 0.0014, 1), (2e-4, 0.0024, 4)):
        config = RecordingConfig(1, 1, 50.0, 10 * interval, 0.0, step, interval, 0, SacParameters())
        assert config.steps_per_coupling == expected
