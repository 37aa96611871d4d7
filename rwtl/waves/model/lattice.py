"""The lattice of cells as Brian2 objects, the same on every engine, and Brian2's preferences."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from brian2 import BrianObject, NeuronGroup, linked_var, prefs, second

from rwtl.waves.config import RecordingConfig
from rwtl.waves.model.equations import SAC_EQUATIONS, parameter_declarations, parameter_quantities
from rwtl.waves.model.functions import exponential_functions, standard_normal_function
from rwtl.waves.model.state import VARIABLES, Snapshot
from rwtl.waves.model.tissue import cell_values, neighbours

# What a cell releases. It and the cell's input are plain variables, refreshed by two operations before the step, so
# that the state update gathers nothing and vectorises.
_COUPLING_EQUATIONS = """
release : 1
seed : integer (shared, constant)
first_step : integer (shared, constant)
"""
_RELEASE = "release = a**2/(gamma_A + a**2)"
# The noise is constant over a step, so Brian2's methods for ordinary differential equations take it.
_METHODS = {"midpoint": "rk2", "rk4": "rk4"}


@contextmanager
def preferences(values: dict[str, Any]) -> Iterator[None]:
    """Set some of Brian2's global preferences in the block, and reset them after it."""
    before = {name: prefs[name] for name in values}
    try:
        prefs.update(values)
        yield
    finally:
        prefs.update(before)


def build_lattice(config: RecordingConfig, start: Snapshot) -> tuple[NeuronGroup, list[BrianObject]]:
    """Build the coupled cells in the active Brian2 device and its default precision.

    Args:
        config: the simulation.
        start: its first state; the clock starts at 0, and the noise with the step after the snapshot.

    Returns:
        The group "cells", cell (row, column) with index row · columns + column, and everything (the group included)
        that a Brian2 network has to hold.
    """
    links = neighbours(config.rows, config.columns, config.coupling)
    own = cell_values(config.rows * config.columns, config.cell, config.spread, config.lattice_seed)
    coupling = _COUPLING_EQUATIONS + "".join(
        f"release_{side} : 1 (linked)\nweight_{side} : 1 (constant)\n" for side in links
    )
    cells = NeuronGroup(
        config.rows * config.columns,
        SAC_EQUATIONS + parameter_declarations(own) + coupling,
        method=_METHODS[config.method],
        dt=config.time_step * second,
        namespace={"standard_normal": standard_normal_function(), **exponential_functions()},
        dtype={"seed": np.int64, "first_step": np.int64},
        name="cells",
    )
    for name, value in parameter_quantities(config.cell, own).items():
        setattr(cells, name, value)
    cells.seed = config.seed
    cells.first_step = start.frame * config.steps_per_frame
    for name in VARIABLES:
        cells.variables[name].set_value(start.values[name].ravel())
    for side, (neighbour, weight) in links.items():
        setattr(cells, f"release_{side}", linked_var(cells, "release", index=neighbour))
        setattr(cells, f"weight_{side}", weight)

    gather = " + ".join(f"weight_{side}*release_{side}" for side in links)
    interval = config.steps_per_coupling * config.time_step * second
    refresh = [
        cells.run_regularly(code, dt=interval, when="start", order=order)
        for order, code in enumerate((_RELEASE, f"acetylcholine_input = {gather}"))
    ]
    return cells, [cells, *refresh]
