"""The state of a simulation: at model time 0, and between two frames, where it can be resumed bit-identically."""

import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

from rwtl.errors import InputError
from rwtl.files import is_file, replaced
from rwtl.sections import Ascending, NotNegative, Real, section
from rwtl.waves.model.parameters import SacParameters

# Of every cell, in the order in which programs write them: membrane potential (V), the gates n, r, s, calcium and
# acetylcholine (mol/m³, which is mM).
VARIABLES = ("v", "n", "r", "s", "c", "a")
NANOMOLAR = 1e-6  # mol/m³
Precision = Literal["float32", "float64"]  # of an engine


@dataclass(frozen=True)
class Snapshot:
    """State of all cells, from which a simulation is resumed.

    Attributes:
        frame: simulated frame intervals, the transient included.
        values: state of every cell, by variable, (row, column), in SI units and the engine's precision.
    """

    frame: int
    values: dict[str, Float[np.ndarray, "row column"]]

    def save(self, file: Path) -> None:
        """Write the snapshot in one step: after a kill at any moment the file is the old or the new one."""
        with replaced(file) as draft, open(draft, "wb") as stream:
            np.savez(stream, frame=self.frame, **self.values)


def load_snapshot(file: Path) -> Snapshot:
    """Read what `Snapshot.save` wrote.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        if not is_file(file):
            raise FileNotFoundError("there is no such file")
        with np.load(file, allow_pickle=False) as content:
            return Snapshot(int(content["frame"]), {name: content[name] for name in VARIABLES})
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{file}, from which the recording would be resumed, is missing or damaged ({error}): remove "
            f"{file.parent} to simulate it anew"
        ) from error


_Gate = Annotated[list[Real], Ascending(0, 1, equal=True)]


@section("start")
class StartConfig:
    """The state of the cells at model time 0.

    Attributes:
        kind: `rest`, every cell at the rest of an isolated cell without I_ext, so the first events are in step over the
            lattice; or `smooth_random`, where the gates r and s, which make a cell refractory, vary over the lattice
            as two independent smooth random fields, which breaks the step and can leave spirals.
        correlation_length: of those fields, µm (the standard deviation of the Gaussian that smooths white noise).
        r, s: lowest and highest value of the gates in those fields, every value between equally frequent.

    Raises:
        InputError: a value is none of the choices or out of range.
    """

    kind: Literal["rest", "smooth_random"] = "rest"
    correlation_length: NotNegative = 500.0
    r: _Gate = field(default_factory=lambda: [0.2, 0.8])
    s: _Gate = field(default_factory=lambda: [0.05, 0.9])


def resting_state(cell: SacParameters) -> dict[str, float]:
    """Fixed point of an isolated cell, without noise and I_ext, that is lowest in potential: the rest, if it is stable.

    Returns:
        v in mV, the gates n, r, s, c and a in nM.

    Raises:
        InputError: the currents balance nowhere between V_K - 50 mV and V_C.
    """

    def currents(v: float) -> float:
        state = _steady_state(cell, v)
        m = (1 + np.tanh((v - cell.V_1) / cell.V_2)) / 2
        potassium = (cell.g_K * state["n"] + cell.g_sAHP * state["r"] ** 4) * (v - cell.V_K)
        return -cell.g_L * (v - cell.V_L) - cell.g_C * m * (v - cell.V_C) - potassium

    grid = np.arange(cell.V_K - 50, cell.V_C, 0.1)
    signs = np.sign([currents(v) for v in grid])
    crossings = np.flatnonzero(signs[:-1] != signs[1:])
    if len(crossings) == 0:
        raise InputError(
            f"the currents of an isolated cell balance at no potential from {grid[0]:g} to {cell.V_C:g} mV: check the "
            f"potentials, cell.V_L = {cell.V_L} and cell.V_K = {cell.V_K} mV"
        )
    v = brentq(currents, grid[crossings[0]], grid[crossings[0] + 1], xtol=1e-12)
    return {"v": v, **_steady_state(cell, v)}


def _steady_state(cell: SacParameters, v: float) -> dict[str, float]:
    m = (1 + np.tanh((v - cell.V_1) / cell.V_2)) / 2
    c = max(0.0, cell.H_X / cell.alpha_C * (cell.C_0 - cell.delta_C * cell.g_C * m * (v - cell.V_C)))
    saturation = cell.alpha_S * c**4
    s = saturation / (1 + saturation)
    return {
        "n": (1 + np.tanh((v - cell.V_3) / cell.V_4)) / 2,
        "r": cell.alpha_R * s / (1 + cell.alpha_R * s),
        "s": s,
        "c": c,
        "a": cell.beta_A / cell.mu_A / (1 + np.exp(-cell.kappa_A * (v - cell.V_0))),
    }


def uniform_snapshot(rows: int, columns: int, state: dict[str, float]) -> Snapshot:
    """Start in which every cell has the same state; v in mV, the gates n, r, s, c and a in nM."""
    to_si = {"v": 1e-3, "n": 1.0, "r": 1.0, "s": 1.0, "c": NANOMOLAR, "a": NANOMOLAR}
    return Snapshot(0, {name: np.full((rows, columns), state[name] * scale) for name, scale in to_si.items()})
