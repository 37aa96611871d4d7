"""Heterogeneous cells: parameters that differ from cell to cell, and the random numbers of the lattice."""

import zlib
from dataclasses import asdict

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, ndtri

from rwtl.errors import InputError
from rwtl.waves.parameters import PARAMETERS, SacParameters

# Cells differ by at most so many standard deviations.
SPREAD_LIMIT = 3.0


def generator(seed: int, purpose: str) -> np.random.Generator:
    """Random numbers that depend on the seed (0 ≤ seed < 2⁶³) and on what they are for, and on nothing else."""
    return np.random.Generator(np.random.Philox(key=[seed, zlib.crc32(purpose.encode())]))


def cell_values(
    count: int, cell: SacParameters, spread: dict[str, float], seed: int
) -> dict[str, Float[np.ndarray, " cells"]]:
    """The parameters that differ from cell to cell: normally distributed around the mean, cut at 3 standard deviations.

    Args:
        count: cells.
        cell: the means.
        spread: the standard deviation of each parameter that differs, in its own unit; 0 for one that does not.
        seed: decides the values; a parameter's values do not depend on which others differ.

    Returns:
        The values by parameter, in its own unit.

    Raises:
        InputError: a name is no parameter, a spread is negative, or values of the wrong sign could be drawn.
    """
    values, tail = {}, ndtr(-SPREAD_LIMIT)
    for name, deviation in spread.items():
        if name not in PARAMETERS:
            raise InputError(
                f"recording.spread.{name}: there is no such parameter; choose from {', '.join(PARAMETERS)}"
            )
        mean = asdict(cell)[name]
        if not 0 <= deviation < float("inf"):
            raise InputError(f"recording.spread.{name} is {deviation}: a standard deviation must not be negative")
        lowest = mean - SPREAD_LIMIT * deviation
        if deviation == 0:
            continue
        if PARAMETERS[name].sign != "any" and lowest <= 0:
            raise InputError(
                f"recording.spread.{name} is {deviation} around a mean of {mean} {PARAMETERS[name].unit}: at "
                f"{SPREAD_LIMIT:g} standard deviations below it {name} is {lowest:.4g}; stay below "
                f"{mean / SPREAD_LIMIT:.4g}"
            )
        uniform = generator(seed, f"spread of {name}").random(count)
        values[name] = mean + deviation * ndtri(tail + uniform * (1 - 2 * tail))
    return values
