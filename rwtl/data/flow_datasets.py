"""All data sets of optical flow, by the name that a configuration gives them."""

import hashlib
import inspect
from pathlib import Path
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
        InputError: The name or an argument is unknown, or an argument is missing or None without being optional; and
            what the data set itself raises.
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
    return FLOW_DATASETS[name](**arguments)


def folder_identity(root: str | Path) -> str:
    """Return a digest of a folder's pairs, wherever it lies: names, sizes and 4 KiB from the middle of every file."""
    digest = hashlib.sha256()
    for file in sorted(path for path in Path(root).iterdir() if path.suffix in (".ppm", ".flo")):
        size = file.stat().st_size
        with file.open("rb") as content:
            content.seek(size // 2)
            digest.update(f"{file.name} {size} ".encode() + content.read(4096))
    return digest.hexdigest()
