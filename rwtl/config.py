"""Reading a composed configuration: its values, paths and dotted keys, and the whole as YAML."""

import re
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rwtl.errors import InputError

CONF = Path(__file__).with_name("conf")  # in a checkout a link to conf/, in a wheel a folder


def resolved_yaml(cfg: DictConfig) -> str:
    """Return a configuration as YAML with its interpolations resolved, but for those that refer to what is not set."""
    return OmegaConf.to_yaml(OmegaConf.create(_resolved(cfg)))


def _resolved(node: Any) -> Any:
    if isinstance(node, ListConfig):
        return [_value(node, index) for index in range(len(node))]
    if isinstance(node, DictConfig):
        return {key: _value(node, key) for key in node}
    return node


def _value(node: DictConfig | ListConfig, key: Any) -> Any:
    if OmegaConf.is_missing(node, key):
        return "???"
    try:
        return _resolved(node[key])
    except OmegaConfBaseException:
        return OmegaConf.to_container(node, resolve=False)[key]


def setting(cfg: DictConfig, key: str) -> Any:
    """Return a value or a section of the configuration, as plain values; what is not set is named."""
    try:
        value = OmegaConf.select(cfg, key, throw_on_missing=True)
        plain = not OmegaConf.is_config(value)
        return value if plain else OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        referred = re.search(r"while resolving interpolation: Missing mandatory value: ([\w.]+)", str(error))
        missing = referred[1] if referred else error.full_key or key
        raise InputError(f"{missing} is not set; give it on the command line as {missing}=...") from error


def path_of(cfg: DictConfig, key: str) -> Path:
    """Return a path of the configuration; what is not set or no text is named."""
    value = setting(cfg, key)
    if not isinstance(value, str):
        raise InputError(f"{key} is {value!r}; it must be a path")
    return Path(value)


def outputs_folder(cfg: DictConfig) -> Path:
    """Return the folder of all artifacts."""
    return Path(setting(cfg, "paths.outputs"))


def tables_folder(cfg: DictConfig, name: str) -> Path:
    """Return the folder of that name beside the artifacts, made where missing.

    Raises InputError where it cannot be made.
    """
    folder = outputs_folder(cfg) / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {folder} ({error.strerror}); set paths.outputs to another folder") from error
    return folder


def flat(section: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return the dotted keys of a section of sections, each after the prefix, with their values."""
    parts = []
    for key, value in section.items():
        parts += flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return parts


def short(value: Any) -> str:
    """Return a value as one would write it on the command line; a list of sections is told by its length."""
    if isinstance(value, list):
        sections = any(isinstance(part, dict) for part in value)
        return f"of {len(value)}" if sections else f"[{', '.join(map(short, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
