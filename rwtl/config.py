"""Configuration sections as typed objects: keys equal constructor arguments, and nothing else is accepted."""

from collections.abc import Mapping
from typing import Any, TypeVar

from omegaconf import OmegaConf
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
