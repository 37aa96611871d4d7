"""Configuration sections as typed objects: keys equal constructor arguments, and nothing else is accepted."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rwtl.errors import InputError

CONF = Path(__file__).parents[1] / "conf"


T = TypeVar("T")


def typed(cls: type[T], values: Mapping[str, Any], section: str) -> T:
    """Return the dataclass `cls` made of a section of the configuration.

    Raises InputError that names the section, the key and the value where a key is unknown, missing or of a wrong type;
    errors of the dataclass's own checks pass through. The dataclass must not be frozen: OmegaConf could not fill it.
    """
    schema = OmegaConf.structured(cls)
    try:
        return OmegaConf.to_object(OmegaConf.merge(schema, OmegaConf.create(dict(values))))
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        key = f"{section}.{error.full_key}" if error.full_key else section
        raise InputError(f"{key}: {reason}; the keys of {section} are {', '.join(schema)}") from error


def require_seed(seed: Any, key: str) -> None:
    """Raise InputError, with the configuration's key, where all generators of random numbers do not take a seed."""
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise InputError(f"{key} is {seed!r}; it must be a whole number from 0 to 4294967295")


def require_at_least(least: int, section: Any, *keys: str, prefix: str = "") -> None:
    """Raise InputError for a value of a section that is below `least`; the prefix stands before the key in the text."""
    for key in keys:
        if getattr(section, key) < least:
            rule = f"be at least {least}" if least else "not be negative"
            raise InputError(f"{prefix}{key} is {getattr(section, key)}; it must {rule}")


def require_one_of(choices: Collection[str], section: Any, key: str, prefix: str = "") -> None:
    """Raise InputError where a value of a section is none of the choices."""
    if getattr(section, key) not in choices:
        raise InputError(f"{prefix}{key} is {getattr(section, key)!r}; choose one of {', '.join(choices)}")


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
