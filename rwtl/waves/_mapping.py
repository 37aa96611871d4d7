"""Dataclasses from mappings, with errors that name the key."""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from numbers import Integral, Real
from typing import Literal, TypeVar, get_args, get_origin

from rwtl.errors import InputError

_T = TypeVar("_T")


def from_mapping(cls: type[_T], values: Mapping, name: str) -> _T:
    """Build the dataclass `cls`, whose fields are int, float, a Literal or again a dataclass, from `values`.

    Args:
        name: what the mapping is called in the config, for the messages.

    Raises:
        InputError: a key is unknown or missing, or a value has the wrong type.
    """
    known = {field.name: field for field in fields(cls)}
    for key in values:
        if key not in known:
            raise InputError(f"{name}.{key} is not a known key; {name} takes {', '.join(known)}")
    missing = [key for key, field in known.items() if field.default is MISSING and key not in values]
    if missing:
        raise InputError(f"{name} lacks {', '.join(missing)}")
    return cls(**{key: _convert(known[key].type, value, f"{name}.{key}") for key, value in values.items()})


def _convert(kind: object, value: object, key: str) -> object:
    if is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise InputError(f"{key} is {value!r}: give a mapping of values")
        return from_mapping(kind, value, key)
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise InputError(f"{key} is {value!r}: choose one of {', '.join(map(str, get_args(kind)))}")
        return value
    number, words = (Integral, "a whole number") if kind is int else (Real, "a number")
    if isinstance(value, bool) or not isinstance(value, number):
        raise InputError(f"{key} is {value!r}: give {words}")
    return kind(value)
