"""The tissue: the coupling of its cells, and the differences between them."""

from dataclasses import field, replace
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field
from scipy.special import ndtr, ndtri

from rwtl.errors import InputError
from rwtl.random import named_rng
from rwtl.sections import Real, Unfit, section
from rwtl.waves.model.parameters import PARAMETERS, SacParameters

# From the cell to its neighbour, (rows down, columns to the right); four or eight of them.
NEIGHBOURS = {
    "above": (-1, 0),
    "below": (1, 0),
    "left": (0, -1),
    "right": (0, 1),
    "above_left": (-1, -1),
    "above_right": (-1, 1),
    "below_left": (1, -1),
    "below_right": (1, 1),
}
_SPREAD_LIMIT = 3.0  # standard deviations by which cells differ at most


@section("coupling")
class CouplingConfig:
    """How cells are coupled. A synapse has weight 1 + bias · d + anisotropy · cos 2θ, where d, the unit vector from the
    releasing to the hearing cell, makes the angle θ with the rows; g_A is multiplied with it.

    Attributes:
        neighbours: 4, or 8 with the diagonal ones. Every one counts alike: at the same g_A, 8 couple twice as strongly.
        boundary: `open`, where an absent neighbour releases nothing, or `periodic`, a torus.
        bias: (to the right, downwards): waves prefer to travel along this vector.
        anisotropy: above 0 coupling is stronger along the rows than along the columns, below 0 the other way round.

    Raises:
        InputError: a value is none of the choices, or a synapse would have a negative weight.
    """

    neighbours: Literal[4, 8] = 4
    boundary: Literal["open", "periodic"] = "open"
    bias: Annotated[list[Real], Field(min_length=2, max_length=2)] = field(default_factory=lambda: [0.0, 0.0])
    anisotropy: Real = 0.0

    def __post_init__(self) -> None:
        for name in self.sides():
            if self.weight(name) < 0:
                raise Unfit(
                    f"bias {self.bias} and anisotropy {self.anisotropy} give the synapse from the neighbour "
                    f"{name.replace('_', ' ')} the weight {self.weight(name):.3g}; it must not be negative"
                )

    def sides(self) -> list[str]:
        """Names of the neighbours."""
        return list(NEIGHBOURS)[: self.neighbours]

    def weight(self, side: str) -> float:
        """Weight of the synapse from the neighbour on a side, on which it acts against that side's direction."""
        down, right = NEIGHBOURS[side]
        length = np.hypot(down, right)
        along = -(self.bias[0] * right + self.bias[1] * down) / length
        return float(1 + along + self.anisotropy * (right**2 - down**2) / length**2)


def neighbours(
    rows: int, columns: int, coupling: CouplingConfig
) -> dict[str, tuple[Int[np.ndarray, " cells"], Float[np.ndarray, " cells"]]]:
    """Return the neighbour of every cell on every side, and the weight of its synapse.

    Returns:
        side → (index of the neighbour, weight); cell (row, column) has index row · columns + column. Where there is no
        neighbour (beyond an open border, or a cell that is its own neighbour on a torus) the index is the cell's own
        and the weight is 0.
    """
    index = np.arange(rows * columns).reshape(rows, columns)
    around = {"mode": "wrap"} if coupling.boundary == "periodic" else {"constant_values": -1}
    padded = np.pad(index, 1, **around)
    found = {}
    for side in coupling.sides():
        down, right = NEIGHBOURS[side]
        neighbour = padded[1 + down : 1 + down + rows, 1 + right : 1 + right + columns]
        present = (neighbour >= 0) & (neighbour != index)
        own = np.where(present, neighbour, index)
        found[side] = (own.ravel(), (present * coupling.weight(side)).ravel())
    return found


def cell_values(
    count: int, cell: SacParameters, spread: dict[str, float], seed: int
) -> dict[str, Float[np.ndarray, " cells"]]:
    """Draw the parameters that differ between cells: normally distributed around the mean, within 3 deviations.

    Args:
        count: cells.
        cell: the means.
        spread: the standard deviation of each parameter that differs, in its own unit; 0 for one that does not.
        seed: decides the values; a parameter's values do not depend on which others differ.

    Returns:
        The values by parameter, in its own unit.

    Raises:
        InputError: a name is no parameter, or values of the wrong sign could be drawn.
    """
    values, tail = {}, ndtr(-_SPREAD_LIMIT)
    for name, deviation in spread.items():
        if name not in PARAMETERS:
            raise Unfit(f"spread.{name}: there is no such parameter; choose one of {', '.join(PARAMETERS)}")
        if deviation == 0:
            continue
        mean = getattr(cell, name)
        lowest = mean - _SPREAD_LIMIT * deviation
        try:
            replace(cell, **{name: lowest})
        except InputError as error:
            raise Unfit(
                f"spread.{name} is {deviation} around a mean of {mean} {PARAMETERS[name].unit}: at "
                f"{_SPREAD_LIMIT:g} standard deviations below it {name} is {lowest:.4g}; stay below "
                f"{mean / _SPREAD_LIMIT:.4g}"
            ) from error
        uniform = named_rng(seed, f"spread of {name}").random(count)
        values[name] = mean + deviation * ndtri(tail + uniform * (1 - 2 * tail))
    return values
