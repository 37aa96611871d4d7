"""The lattice of cells as Brian2 objects, the same on every engine."""

import numpy as np
from brian2 import BrianObject, NeuronGroup, linked_var, second

from rwtl.waves.noise import standard_normal_function
from rwtl.waves.parameters import SacParameters
from rwtl.waves.sac import RESTING_STATE, SAC_EQUATIONS, SacState, parameter_declarations, parameter_quantities

# What a cell releases and what arrives from its four neighbours. Both are plain variables, refreshed by two operations
# before the step, so that the state update gathers nothing and vectorises.
_COUPLING_EQUATIONS = """
release : 1
release_above : 1 (linked)
release_below : 1 (linked)
release_left : 1 (linked)
release_right : 1 (linked)
absent_neighbours : 1 (constant)
seed : integer (shared, constant)
"""
_RELEASE = "release = a**2/(gamma_A + a**2)"
# The border is open: an absent neighbour is linked to the cell itself, whose own release is taken out again here.
_GATHER = """
acetylcholine_input = release_above + release_below + release_left + release_right - absent_neighbours*release
"""
# Acetylcholine changes over 1/μ_A = 0.5 s; refreshing its sum every millisecond moves calcium by 0.3 nM.
COUPLING_INTERVAL = 1e-3


def build_lattice(
    rows: int,
    columns: int,
    time_step: float,
    seed: int,
    cell: SacParameters,
    start: SacState = RESTING_STATE,
) -> tuple[NeuronGroup, list[BrianObject]]:
    """Coupled cells in the active Brian2 device and its default precision, integrated by the midpoint rule.

    Args:
        rows, columns: cells of the lattice; cell (row, column) has index row * columns + column.
        time_step: s.
        seed: of the noise, 0 ≤ seed < 2⁶³.
        cell: parameters of every cell.
        start: state of every cell at time 0.

    Returns:
        The group "cells", and everything (it included) that a Brian2 network has to hold.
    """
    cells = NeuronGroup(
        rows * columns,
        SAC_EQUATIONS + parameter_declarations() + _COUPLING_EQUATIONS,
        # Not Euler: a first-order method changes the speed of the waves. The noise is constant over a step, so rk2
        # takes it.
        method="rk2",
        dt=time_step * second,
        namespace={"standard_normal": standard_normal_function()},
        dtype={"seed": np.int64},
        name="cells",
    )
    for name, value in {**parameter_quantities(cell), **start.quantities()}.items():
        setattr(cells, name, value)
    cells.seed = seed

    index = np.arange(rows * columns).reshape(rows, columns)
    padded = np.pad(index, 1, mode="edge")
    neighbours = {
        "above": padded[:-2, 1:-1],
        "below": padded[2:, 1:-1],
        "left": padded[1:-1, :-2],
        "right": padded[1:-1, 2:],
    }
    for side, neighbour in neighbours.items():
        setattr(cells, f"release_{side}", linked_var(cells, "release", index=neighbour.ravel()))
    cells.absent_neighbours = sum(neighbour == index for neighbour in neighbours.values()).ravel()

    interval = max(1, round(COUPLING_INTERVAL / time_step)) * time_step * second
    refresh = [
        cells.run_regularly(code, dt=interval, when="start", order=order)
        for order, code in enumerate((_RELEASE, _GATHER))
    ]
    return cells, [cells, *refresh]
