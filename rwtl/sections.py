"""Sections of the configuration as classes whose fields say which values they take.

    @section("trainer")
    class TrainerConfig:
        threads: Count
        precision: Annotated[str, OneOf(PRECISIONS)]

What does not fit is an InputError with the dotted key, the value and the rule: `trainer.threads is 0; it must be at
least 1`. Rules between several keys stand in `__post_init__`, and raise `Unfit`.
"""

import functools
import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import fields, is_dataclass
from math import inf, isfinite
from typing import Annotated, Any, TypeVar, dataclass_transform, get_args, get_type_hints

import pydantic
from pydantic import ConfigDict, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from rwtl.errors import InputError, NotSet

T = TypeVar("T")


class Unfit(InputError):
    """Values of a section that do not fit each other, in words that begin with one of its keys: `behind and ahead are
    both 0`. Whoever knows what the section is called puts its name before them."""


class Rule:
    """Part of a field's type, as in Annotated[str, OneOf(VARIANTS)]: a subclass says which values it refuses, and the
    rule that they break."""

    rule: str

    def refuses(self, value: Any) -> bool:
        raise NotImplementedError

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def _checked(self, value: Any) -> Any:
        if self.refuses(value):
            raise _broken(self.rule)
        return value


def _broken(rule: str) -> PydanticCustomError:
    return PydanticCustomError("rule", "{rule}", {"rule": rule})


class Range(Rule):
    """A number from `least` to `most`, either of which may be excluded. That it is finite is a rule of all numbers."""

    def __init__(self, least: float = -inf, most: float = inf, above: bool = False, below: bool = False):
        self.least, self.most, self.above, self.below = least, most, above, below

    @property
    def rule(self) -> str:
        if (self.least, self.most) == (0, inf):
            return "it must be positive" if self.above else "it must not be negative"
        if isfinite(self.least) and isfinite(self.most) and not (self.above or self.below):
            return f"it must lie in {self.least} to {self.most}"
        limits = [f"{'above' if self.above else 'at least'} {self.least}"] if self.least > -inf else []
        limits += [f"{'below' if self.below else 'at most'} {self.most}"] if self.most < inf else []
        return f"it must be {' and '.join(limits) or 'finite'}"

    def refuses(self, value: float) -> bool:
        return (
            not self.least <= value <= self.most
            or (self.above and value == self.least)
            or (self.below and value == self.most)
        )

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        checked = super().__get_pydantic_core_schema__(source, handler)
        return core_schema.no_info_before_validator_function(_no_truth, checked)


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):  # which Python takes for 0 or 1
        raise _broken("it must be a number")
    return value


Numeric = pydantic.BeforeValidator(_no_truth)  # Annotated[Literal[1, 2], Numeric]: true is not the choice 1
Natural = Annotated[int, Range(0)]
Count = Annotated[int, Range(1)]
# More than machines can use; thousands would stop one.
Workers = Annotated[int, Range(0, 256)]
Processes = Annotated[int, Range(1, 256)]
Threads = Annotated[int, Range(1, 1024)]
Seed = Annotated[int, Range(0, 2**32 - 1)]  # what all generators of random numbers take
LongSeed = Annotated[int, Range(0, 2**63 - 1)]
Real = Annotated[float, Range()]
NotNegative = Annotated[float, Range(0)]
Positive = Annotated[float, Range(0, above=True)]
Share = Annotated[float, Range(0, 1)]
Within01 = Annotated[float, Range(0, 1, above=True, below=True)]
UpTo1 = Annotated[float, Range(0, 1, above=True)]


class OneOf(Rule):
    """A text of a collection, as it is when the value is checked: a registry may have grown."""

    def __init__(self, choices: Collection[str]):
        self.choices = choices

    @property
    def rule(self) -> str:
        return f"choose one of {', '.join(self.choices)}"

    def refuses(self, value: str) -> bool:
        return value not in self.choices


class EachOnce(Rule):
    """A list of at least one value, and none of them twice."""

    rule = "name each once, and at least one"

    def refuses(self, values: list) -> bool:
        return len(set(map(str, values))) < max(1, len(values))


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Listed = pydantic.BeforeValidator(_listed)  # Annotated[list[str], Listed]: one text may stand for a list of it


class Ascending(Rule):
    """Two numbers, the lower first, that may be equal only where `equal` says so, from `least` to `most`."""

    def __init__(self, least: float = -inf, most: float = inf, equal: bool = False, what: str = "numbers"):
        self.least, self.most, self.equal, self.what = least, most, equal, what

    @property
    def rule(self) -> str:
        limits = [f"from {self.least:g}"] if self.least > -inf else []
        limits += [f"to {self.most:g}"] if self.most < inf else []
        return " ".join(["give two", self.what, *limits]) + ", the lower first"

    def refuses(self, values: list[float]) -> bool:
        if len(values) != 2 or not self.least <= values[0] <= values[1] <= self.most:
            return True
        return values[0] == values[1] and not self.equal


_SETTINGS = ConfigDict(
    extra="forbid",
    coerce_numbers_to_str=True,
    arbitrary_types_allowed=True,
    allow_inf_nan=False,  # of every number of every section, whatever else its rule is
)


@dataclass_transform()
def section(name: str, **options: Any) -> Callable[[type[T]], type[T]]:
    """Make a class a dataclass that checks what it is made of.

    Args:
        name: of the section, by which errors call it; `typed` may say another.
        options: of a dataclass, such as `kw_only`.
    """

    def decorate(cls: type[T]) -> type[T]:
        made = checked_dataclass(config=_SETTINGS, **options)(cls)
        check = made.__init__

        @functools.wraps(check)
        def __init__(self: T, *values: Any, **named: Any) -> None:
            try:
                check(self, *values, **named)
            except ValidationError as error:
                raise _input_error(error, made, name) from error
            except UnicodeEncodeError as error:
                raise _not_text(error, name) from error

        made.__init__ = __init__
        return made

    return decorate


# Keys that configurations recorded by earlier versions may hold, with why they are gone. Unset, they are passed over.
_RETIRED = {"trainer.compile": "torch.compile made RAFT little faster and took a minute or more to start"}
# Passed over, whatever their value: one said again what the conditions say, the other is executor.jobs now.
_WITHOUT_EFFECT = {"comparison.axes", "comparison.jobs"}


def typed(cls: type[T], values: Mapping[str, Any], name: str, typed_as: Mapping[str, str] | None = None) -> T:
    """Return the object that a section of the configuration describes.

    Args:
        cls: made by `section`, or any other class, whose constructor's arguments are then checked by their types alone.
        values: plain ones, by key.
        name: of the section, with dots.
        typed_as: the dotted keys, elsewhere, of those of its keys whose values are given there.

    Raises:
        InputError: A key is unknown or missing, or a value does not fit.
    """
    keys = typed_as or {}
    known = {}
    for key, value in values.items():
        if f"{name}.{key}" not in (*_RETIRED, *_WITHOUT_EFFECT):
            known[key] = value
        elif value and f"{name}.{key}" in _RETIRED:
            raise InputError(f"{name}.{key} is {value}, but it is gone: {_RETIRED[f'{name}.{key}']}; leave it out")
    require_numbers(known, name)
    try:
        if is_dataclass(cls):
            return _adapter(cls).validate_python(known)
        made = cls.__new__(cls)
        _constructor(cls)(made, **known)
        return made
    except ValidationError as error:
        raise _input_error(error, cls, name, keys) from error
    except Unfit as error:  # of a class that `section` has not made
        raise InputError(_with_key(error, name, keys)) from error
    except UnicodeEncodeError as error:
        raise _not_text(error, name) from error


def _not_text(error: UnicodeEncodeError, name: str) -> InputError:
    """Return the error of a name with bytes that are not UTF-8, or of a message that holds one: neither could be kept
    in a file."""
    shown = error.object.encode(errors="backslashreplace").decode()
    return InputError(f"{name}: {shown} (a name there is not UTF-8; rename it)")


_LARGEST = 2**63 - 1  # of a whole number, which other libraries count with


def require_numbers(value: Any, key: str) -> None:
    """Raise InputError where a number is not finite, or too large to be counted with: also within what no type
    describes, as the constructor's arguments of a plug-in, or options that are handed on."""
    if isinstance(value, float) and not isfinite(value):
        raise InputError(f"{key} is {value}; {_FINITE}")
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise InputError(f"{key} is {value}; it must be at most {_LARGEST}")
    for part, within in value.items() if isinstance(value, Mapping) else ():
        require_numbers(within, _dotted(key, part))
    for number, within in enumerate(value) if isinstance(value, list | tuple) else ():
        require_numbers(within, _dotted(key, number))


@functools.cache
def _constructor(cls: type) -> Callable[..., None]:
    return pydantic.validate_call(config={key: _SETTINGS[key] for key in _SETTINGS if key != "extra"})(cls.__init__)


def chosen(
    kinds: Collection[str], values: Mapping[str, Any], name: str, key: str = "kind", default: str | None = None
) -> tuple[str, dict[str, Any]]:
    """Return what a section says under `key`, which decides what its other keys are, and those.

    Raises InputError where it is none of the kinds.
    """
    rest = dict(values)
    kind = rest.pop(key, default)
    if kind not in kinds:
        raise InputError(f"{name}.{key} is {kind!r}; choose one of {', '.join(kinds)}")
    return kind, rest


def checked(kind: Any, value: Any, key: str) -> Any:
    """Return a value as one of a kind, such as `Seed`; raise InputError with its dotted key where it does not fit."""
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        raise _input_error(error, kind, key) from error


@functools.cache
def _adapter(cls: type) -> TypeAdapter:
    return TypeAdapter(cls, config=None if is_dataclass(cls) else _SETTINGS)


_FINITE = "it must be finite"
_UNKNOWN = "unexpected_keyword_argument"


def _with_key(error: Unfit, name: str, keys: Mapping[str, str]) -> str:
    """Put the name of the section before the key that an error begins with, or say the key that stands for it."""
    first = re.match(r"\w*", str(error))[0]
    return f"{keys.get(first, f'{name}.{first}')}{str(error)[len(first) :]}"


def _input_error(error: ValidationError, cls: type, name: str, keys: Mapping[str, str] | None = None) -> InputError:
    """Return the first error, in the words of this project."""
    faults = sorted(error.errors(include_url=False), key=lambda fault: fault["type"] != _UNKNOWN)
    fault = faults[0]  # a key with a mistake in it is missed besides
    place = list(fault["loc"])
    if place and isinstance(place[0], int):  # an argument without its name
        place[0] = fields(cls)[place[0]].name
    key = (keys or {}).get(place[0]) if len(place) == 1 else None
    key = key or _dotted(name, *place)
    own = fault.get("ctx", {}).get("error")
    if isinstance(own, Unfit):
        return InputError(_with_key(own, key, keys or {}))
    if isinstance(own, InputError):
        return own
    if fault["type"].startswith("missing") or fault["input"] is None:
        return NotSet(f"{key} is not set; give it a value")
    if fault["type"] == _UNKNOWN:
        within = _dotted(name, *place[:-1])
        keys = ", ".join(_keys(cls, place[:-1]))
        return InputError(f"{key}: {within} has no such key; its keys are {keys}")
    return InputError(f"{key} is {fault['input']!r}; {_rule(fault)}")


def _dotted(name: str, *parts: str | int) -> str:
    return name + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)


# What a value must be, by how pydantic's names of its errors begin.
_KINDS = {
    "int_": "a whole number",
    "float_": "a number",
    "bool_": "true or false",
    "string_": "text",
    "path_": "a path",
    "list_": "a list",
    "dict_": "a section of keys and values",
    "dataclass_": "a section of keys and values",
}


def _rule(fault: Mapping[str, Any]) -> str:
    said = fault.get("ctx", {})
    match fault["type"]:
        case "too_short" | "too_long":
            least, most = said.get("min_length"), said.get("max_length")
            return f"it must hold at {f'least {least}' if most is None else f'most {most}'} of them"
        case "rule":
            return fault["msg"]
        case "finite_number":
            return _FINITE
        case "literal_error":
            choices = said["expected"].replace("'", "").replace(" or ", ", ")
            return f"choose one of {choices}"
    kind = next((kind for name, kind in _KINDS.items() if fault["type"].startswith(name)), None)
    return f"it must be {kind}" if kind else fault["msg"]


def _keys(cls: Any, sections: Iterable[str | int]) -> list[str]:
    for part in sections:
        cls = get_type_hints(cls)[part] if is_dataclass(cls) else get_args(cls)[-1]  # else a dict or a list of them
    return list(inspect.signature(cls).parameters)
