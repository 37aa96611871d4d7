"""Configuration sections as typed objects: keys equal constructor arguments, and nothing else is accepted."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import Field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, TypeAdapter, ValidationError

from rwtl.errors import InputError

CONF = Path(__file__).parents[1] / "conf"


T = TypeVar("T")

# Keys that configurations recorded by earlier versions may hold, with why they are gone. Unset, they are passed over.
_RETIRED = {"trainer.compile": "torch.compile made RAFT little faster and took a minute or more to start"}


def typed(cls: type[T], values: Mapping[str, Any], section: str) -> T:
    """Return the dataclass `cls` made of a section of the configuration.

    Raises InputError that names the key and the value where a key is unknown, missing or of a wrong type; errors of the
    dataclass's own checks pass through.
    """
    known = {}
    for key, value in values.items():
        if f"{section}.{key}" not in _RETIRED:
            known[key] = value
        elif value:
            raise InputError(
                f"{section}.{key} is {value}, but it is gone: {_RETIRED[f'{section}.{key}']}; leave it out"
            )
    try:
        made = _adapter(cls).validate_python(known)
    except ValidationError as error:
        faults = sorted(error.errors(include_url=False), key=lambda fault: fault["type"] != _UNKNOWN)
        fault = faults[0]  # a key with a mistake in it is missed besides
        own = fault.get("ctx", {}).get("error")
        raise own if isinstance(own, InputError) else InputError(_said(fault, section, cls)) from error
    _refuse_truth_as_number(known, made, section)
    return made


def _refuse_truth_as_number(given: Any, made: Any, key: str) -> None:
    """Raise InputError where true or false became 1 or 0, as pydantic lets it: `training.steps=true` is a mistake."""
    if isinstance(given, bool) and not isinstance(made, bool):
        raise InputError(f"{key} is {given}; it must be a number")
    if isinstance(given, Mapping):
        for name, value in given.items():
            _refuse_truth_as_number(
                value, made[name] if isinstance(made, Mapping) else getattr(made, name), f"{key}.{name}"
            )
    if isinstance(given, list):
        for number, (value, of_it) in enumerate(zip(given, made, strict=True)):
            _refuse_truth_as_number(value, of_it, f"{key}[{number}]")


@cache
def _adapter(cls: type) -> TypeAdapter:
    cls.__pydantic_config__ = ConfigDict(extra="forbid", coerce_numbers_to_str=True, arbitrary_types_allowed=True)
    return TypeAdapter(cls)


_UNKNOWN = "unexpected_keyword_argument"
# What a value must be, by how pydantic's names of its errors begin.
_RULES = {
    "int_": "a whole number",
    "float_": "a number",
    "bool_": "true or false",
    "string_": "text",
    "list_": "a list",
    "dict_": "a section of keys and values",
    "dataclass_": "a section of keys and values",
}


def _said(fault: Mapping[str, Any], section: str, cls: type) -> str:
    *sections, _ = fault["loc"]
    key, within = (".".join(map(str, [section, *loc])) for loc in (fault["loc"], sections))
    if fault["type"] == "missing":
        return f"{key} is not set; give it a value"
    if fault["type"] == _UNKNOWN:
        return f"{key}: {within} has no such key; its keys are {', '.join(each.name for each in _keys(cls, sections))}"
    rule = next((rule for name, rule in _RULES.items() if fault["type"].startswith(name)), None)
    return f"{key} is {fault['input']!r}; " + (f"it must be {rule}" if rule else fault["msg"])


def _keys(cls: Any, sections: list[str | int]) -> Iterable[Field]:
    for part in sections:
        cls = get_type_hints(cls)[part] if is_dataclass(cls) else get_args(cls)[-1]  # else a dict or a list of them
    return fields(cls)


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
