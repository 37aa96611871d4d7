"""Configuration sections as typed objects: keys equal constructor arguments, and nothing else is accepted."""

from collections.abc import Mapping
from typing import Any, TypeVar

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rwtl.errors import InputError

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
