"""Overrides as texts that Hydra reads back as the same value, and that a shell hands over as the same word."""

import itertools
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from numbers import Number
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Quote, QuotedString, Sweep, Transformer
from hydra.errors import HydraException


def override(key: str, value: Any) -> str:
    """Return the override that sets a key to a value, of the same type: `seed=1`, but `name='1'` for the text."""
    return f"{key}={written(value)}"


def written(value: Any) -> str:
    """Return what Hydra's command line reads as a value: in quotes, where a text would be read as something else.

    Hydra has no way to write a key of a section that holds a quote, or a letter beyond ASCII.

    Raises ValueError where it stands for several values, as Hydra's `choice(1,2)` does.
    """
    if isinstance(value, Sweep | Glob):
        raise ValueError("a choice cannot itself be choice(), interval(), range() or glob()")
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{Transformer.str(str(key))}:{written(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(written, value)) + "]"
    if value is None or isinstance(value, bool):
        return Transformer.str(value)
    if isinstance(value, Number):
        return str(value)
    text = value.text if isinstance(value, QuotedString) else str(value)
    with suppress(HydraException):
        plain = Transformer.str(text)
        if OverridesParser.create().parse_overrides([f"key=[{plain}]"])[0].value() == [text]:
            return plain
    return QuotedString(text, Quote.single).with_quotes()  # such as 1, null or a,b


def pasted(overrides: Iterable[str] | Mapping[str, Any]) -> str:
    """Return overrides, or those that set these keys to these values, as a line that can be pasted into a shell."""
    return shlex.join(itertools.starmap(override, overrides.items()) if isinstance(overrides, Mapping) else overrides)
