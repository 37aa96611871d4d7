"""What a right simulation shows, against independently measured figures: fronts, bursts, convergence.

Nearly all are simulated on the lattice `TORUS`, whose program is then compiled once (see `tests/compiler`).
"""

import dataclasses
import gc

import numpy as np
import pytest

from rwtl.waves import RecordingConfig, SacParameters
from rwtl.waves.config import largest_time_step
from rwtl.waves.engines.cpp import CppEngine
from rwtl.waves.model.state import StartConfig
from rwtl.waves.model.tissue import CouplingConfig
from rwtl.waves.simulation import first_snapshot

ACTIVE = 200.0  # nM
QUIET = SacParameters(sigma=0.0)
ALONE = SacParameters(sigma=0.0, g_A=0.0)  # does not hear its neighbours
TORUS = RecordingConfig(
    rows=3,
    columns=70,
    spacing=50.0,
    duration=25.0,
    transient=0.0,
    time_step=2e-4,
    frame_interval=0.05,
    seed=0,
    cell=QUIET,
    coupling=CouplingConfig(boundary="periodic"),
)


def calcium_of(config, start=None, precision="float32") -> np.ndarray:
    gc.collect()  # Brian2 then has no object left, and the next ones, and so the program's text, have the same names
    engine = CppEngine(threads=1, precision=precision)
    return np.array([frame.calcium for frame in engine.frames(config, start or first_snapshot(config))])


def kicked(config, where):
    """The start with some cells depolarised, so that they burst."""
    start = first_snapshot(config)
    start.values["v"][where] = -0.02
    start.values["a"][where] = 2e-6
    return start


def onset(calcium: np.ndarray, interval: float) -> float:
    """When calcium first exceeds 200 nM, s, between the frames; infinite where it never does."""
    if calcium.max() < ACTIVE:
        return np.inf
    after = int((calcium >= ACTIVE).argmax())
    return interval * (after + (ACTIVE - calcium[after - 1]) / (calcium[after] - calcium[after - 1]))


def front_speed(config, row: int = 1, first: int = 12, last: int = 28) -> float:
    """Cells per second of a plane front that starts in columns 0 to 4."""
    calcium = calcium_of(config, kicked(config, np.s_[:, :5]))
    times = [onset(calcium[:, row, column], config.frame_interval) for column in (first, last)]
    return 0.0 if np.isinf(times).any() else (last - first) / (times[1] - times[0])


@pytest.mark.parametrize(("g_A", "speed"), [(0.02, 0.0), (0.05, 1.44), (0.1, 2.34), (0.2, 3.49)])
def test_plane_fronts_have_the_speed_of_the_model(g_A, speed):
    cell = dataclasses.replace(QUIET, g_A=g_A)
    assert front_speed(dataclasses.replace(TORUS, cell=cell)) == pytest.approx(speed, rel=0.02)


def test_bias_makes_fronts_fast_along_it_and_slow_against_it():
    """Along the bias (0.3, 0) a synapse weighs 1.3, so a front of the torus travels as far from the kick's two sides
    only if nothing prefers a direction."""
    coupling = CouplingConfig(boundary="periodic", bias=[0.3, 0.0])
    calcium = calcium_of(
        biased := dataclasses.replace(TORUS, coupling=coupling, duration=15.0), kicked(biased, np.s_[:, :5])
    )
    right = onset(calcium[:, 1, 4 + 16], 0.05) - onset(calcium[:, 1, 4 + 6], 0.05)
    left = onset(calcium[:, 1, -16], 0.05) - onset(calcium[:, 1, -6], 0.05)
    assert left > 1.2 * right


def test_an_isolated_cell_bursts_as_the_model_does():
    """About 2.6 s above 200 nM, a peak of 400 nM, an undershoot to 60 nM, back to the rest of 103 nM."""
    config = dataclasses.replace(TORUS, duration=60.0, cell=ALONE)
    calcium = calcium_of(config, kicked(config, np.s_[:, :]))[:, 0, 0]
    active = calcium > ACTIVE
    assert (active[1:] & ~active[:-1]).sum() == 1
    assert active.sum() * 0.05 == pytest.approx(2.6, rel=0.15)
    assert calcium.max() == pytest.approx(400, rel=0.05)
    assert calcium.min() == pytest.approx(60, rel=0.08)
    assert calcium[-1] == pytest.approx(103.4, abs=1)


@pytest.mark.parametrize(("sigma", "rate"), [(2.0, 0.0), (4.0, 1.0)])
def test_noise_makes_isolated_cells_burst_so_often(sigma, rate):
    cell = SacParameters(g_A=0.0, sigma=sigma)
    config = dataclasses.replace(TORUS, duration=160.0, cell=cell, frame_interval=0.1)
    active = calcium_of(config)[400:] > ACTIVE
    bursts = (active[1:] & ~active[:-1]).sum()
    assert bursts / (210 * 2) == pytest.approx(rate, abs=0.15)  # in each of two minutes


def test_an_isolated_cell_without_noise_stays_at_rest():
    config = dataclasses.replace(TORUS, columns=6, duration=5.0, cell=ALONE)
    calcium = calcium_of(config, precision="float64")
    np.testing.assert_allclose(calcium, 103.42, atol=0.01)


def test_the_other_pair_of_conductance_and_leak_is_excitable_alike():
    cell = dataclasses.replace(QUIET, g_C=10.0, V_L=-70.0)
    resting = dataclasses.replace(TORUS, cell=dataclasses.replace(cell, g_A=0.0), duration=3.0)
    assert np.ptp(calcium_of(resting)) < 0.1
    assert 1.5 < front_speed(dataclasses.replace(TORUS, cell=cell)) < 3.5


@pytest.mark.slow
def test_the_midpoint_rule_converges_with_second_order_and_rk4_faster():
    """Coupled cells in a burst; the error of calcium falls with the square of the step."""
    base = dataclasses.replace(TORUS, columns=6, duration=1.5, frame_interval=0.1)

    def at(step, method="midpoint"):
        config = dataclasses.replace(base, time_step=step, method=method)
        return calcium_of(config, kicked(config, np.s_[:, :2]), precision="float64").astype(float)

    exact = at(1.25e-5, "rk4")
    assert exact.max() > ACTIVE
    coarse, fine = (np.sqrt(((at(step) - exact) ** 2).mean()) for step in (1e-4, 5e-5))
    assert 3.0 < coarse / fine < 5.5
    assert np.sqrt(((at(1e-4, "rk4") - exact) ** 2).mean()) < fine / 3


def test_the_bound_of_the_step_is_where_the_integration_is_still_stable():
    bound = largest_time_step("midpoint", SacParameters())
    assert 2.5e-4 < bound < 3e-4
    assert largest_time_step("rk4", SacParameters()) == pytest.approx(bound * 2.785 / 2)
    config = dataclasses.replace(TORUS, duration=2.0, time_step=2.5e-4)
    assert np.isfinite(calcium_of(config, kicked(config, np.s_[:, :2]))).all()


def test_a_random_start_is_smooth_and_fills_its_range():
    start = StartConfig(kind="smooth_random", correlation_length=200.0, r=[0.3, 0.6], s=[0.1, 0.5])
    snapshot = first_snapshot(dataclasses.replace(TORUS, rows=40, columns=40, start=start))
    for name, (low, high) in {"r": (0.3, 0.6), "s": (0.1, 0.5)}.items():
        field = snapshot.values[name]
        assert field.min() == pytest.approx(low) and field.max() == pytest.approx(high)
        assert abs(np.diff(field)).mean() < 0.2 * np.ptp(field)  # smooth
    assert abs(np.corrcoef(snapshot.values["r"].ravel(), snapshot.values["s"].ravel())[0, 1]) < 0.5
