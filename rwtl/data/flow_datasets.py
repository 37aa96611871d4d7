"""All data sets of optical flow, by the name that a configuration gives them."""

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

from torch.utils.data import Dataset

from rwtl.data.flow_benchmarks import KITTI, Middlebury
from rwtl.data.flow_folder import FlowFolder
from rwtl.data.flow_sequences import HD1K, FlyingThings3D, Sintel
from rwtl.data.flying_chairs import FlyingChairs
from rwtl.data.procedural_flow import ProceduralFlow
from rwtl.errors import InputError

FLOW_DATASETS: dict[str, type[Dataset]] = {
    "flying_chairs": FlyingChairs,
    "flying_things": FlyingThings3D,
    "sintel": Sintel,
    "kitti": KITTI,
    "hd1k": HD1K,
    "middlebury": Middlebury,
    "folder": FlowFolder,
    "procedural": ProceduralFlow,
}


def flow_dataset(values: dict[str, Any], section: str) -> Dataset:
    """Return the data set that a section of the configuration describes.

    Args:
        values: `name`, a key of FLOW_DATASETS, and the arguments of that class.
        section: Name of the section, for messages.

    Raises:
        InputError: The name or an argument is unknown, an argument is missing or None without being optional, or of a
            wrong type; and what the data set itself raises.
    """
    arguments = dict(values)
    name = arguments.pop("name", None)
    if name not in FLOW_DATASETS:
        raise InputError(f"{section}.name is {name!r}; choose one of {', '.join(FLOW_DATASETS)}.")
    known = inspect.signature(FLOW_DATASETS[name]).parameters
    keys = f"the keys of {section} with name {name} are name, {', '.join(known)}"
    for key in arguments:
        if key not in known:
            raise InputError(f"{section}.{key} is unknown; {keys}.")
    for key, parameter in known.items():
        if parameter.default is not None and arguments.get(key, parameter.default) in (None, parameter.empty):
            raise InputError(f"{section}.{key} is not set; {keys}.")
        if key in arguments:
            arguments[key] = _fitting(arguments[key], parameter.annotation, f"{section}.{key}")
    return FLOW_DATASETS[name](**arguments)


def _fitting(value: Any, annotation: Any, key: str) -> Any:
    """Return a value of YAML as what an argument takes: 12 may stand for 12.0, and nothing else for anything else."""
    kinds = {int: (int, "a whole number"), float: (int | float, "a number")}
    kinds |= dict.fromkeys((Sequence[str], Iterable[str]), (str | list, "a list of texts"))
    accepted, kind = kinds.get(annotation, (str, "text"))
    if value is None:  # where it may be: that has been looked at
        return value
    if not isinstance(value, accepted) or isinstance(value, bool):
        raise InputError(f"{key} is {value!r}; it must be {kind}.")
    return float(value) if annotation is float else value
