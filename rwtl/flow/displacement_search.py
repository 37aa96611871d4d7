"""Arguments of procedural scenes by which their displacements come near to those of real pairs."""

import itertools
from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch

from rwtl.errors import InputError
from rwtl.flow.catalogue import flow_dataset
from rwtl.flow.displacements import Displacements, gathered, summary
from rwtl.progress import Progress
from rwtl.terminal import show_frame


def of_scenes(arguments: Mapping[str, Any], count: int) -> Displacements:
    """Return the displacements of the first scenes of a data set of procedural scenes.

    Args:
        arguments: of the data set.
        count: how many scenes.
    """
    scenes = flow_dataset({"name": "procedural", "size": count, **arguments}, "procedural")
    flows = (scenes.flows([index]) for index in range(count))
    return gathered((flow, torch.ones_like(flow[:, 0])) for flow in flows)


def searched(
    grid: Mapping[str, Any], arguments: Mapping[str, Any], count: int, sets: Mapping[str, Displacements]
) -> dict[str, Any]:
    """Return the values, among all combinations, whose displacements are nearest to the real ones; print the best ten.

    Args:
        grid: values to try, by the name of the argument.
        arguments: the others of the data set.
        count: how many scenes to measure for each combination.
        sets: displacements of real pairs, by name.

    Raises InputError where an argument has no list of values.
    """
    for key, values in grid.items():
        if not isinstance(values, list):
            raise InputError(f"search.{key} is {values!r}; give a list of values to try")
    tried = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    progress = Progress("search", len(tried), "combinations")
    rows = []
    for number, values in enumerate(tried, start=1):
        measured = summary({**sets, "procedural": of_scenes({**arguments, **values}, count)})
        rows.append(values | measured.iloc[-1].drop(["set", "pairs"]).to_dict())
        progress(number)
    table = pd.DataFrame(rows).sort_values("distance")
    show_frame(table.head(10), ".2f")
    return tried[table.index[0]]
