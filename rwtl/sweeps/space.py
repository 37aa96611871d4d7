"""What a search of hyper-parameters searches: Hydra's choice, interval, range and glob as distributions of Optuna."""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    IntervalSweep,
    Override,
    RangeSweep,
)
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from rwtl.errors import InputError
from rwtl.overrides import written


def search_space(
    params: Mapping[str, Any], overrides: Sequence[Override], parser: OverridesParser
) -> tuple[dict[str, BaseDistribution], list[str]]:
    """Return the distribution of each searched key, and the overrides of what is fixed.

    `choice(a,b)` and `a,b` become the choices, `glob(*)` all options of a group; `interval(a,b)` has both ends, of
    whole numbers as `int(interval(a,b))`, and by magnitude as `tag(log, interval(a,b))`; `range(a,b,step)` ends before
    b. A choice that is a number, a bool or null stays one; any other is its text on the command line.

    Args:
        params: hydra.sweeper.params, such as {"clips.dt": "choice(0.5, 1.0)"}.
        overrides: those of the command line, which win over `params`.
        parser: what read `overrides`, with Hydra's config loader where a group is searched with `glob`.

    Raises:
        InputError: Nothing is searched, or a value cannot be read or searched.
    """
    preset = OmegaConf.to_container(params, resolve=True) if isinstance(params, DictConfig) else params
    given = {_place(each) for each in overrides}
    of_preset = [_read(key, value, parser) for key, value in preset.items()]
    searched: dict[Any, Override] = {}
    fixed = []
    for each in [*(each for each in of_preset if _place(each) not in given), *overrides]:
        searched.pop(_place(each), None)
        if each.is_sweep_override():
            searched[_place(each)] = each
        else:
            fixed.append(each)
    if not searched:
        raise InputError("the search has nothing to search: set hydra.sweeper.params, or key=interval(0,1)")
    space = {each.get_key_element(): _distribution(each) for each in searched.values()}
    return space, [each.input_line for each in fixed if _place(each) not in searched]


def override_of(key: str, value: Any) -> str:
    """Return the override that sets a key of a search space to a value that Optuna proposed."""
    return f"{key}={value if isinstance(value, str) else written(value)}"  # a text is one of Hydra's


def _place(override: Override) -> tuple[str, str | None]:
    """What an override sets, whether as key=, +key=, ++key= or ~key."""
    return override.key_or_group, override.package


def _read(key: str, value: Any, parser: OverridesParser) -> Override:
    text = value if isinstance(value, str) else written(value)
    try:
        (override,) = parser.parse_overrides([f"{key}={text}"])
    except HydraException as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise InputError(
            f"{key} in hydra.sweeper.params is {value}; it must be what Hydra reads as key=value, such as choice(1,2) "
            f"or interval(0,1) ({reason})"
        ) from error
    return override


def _distribution(override: Override) -> BaseDistribution:
    sweep = override.value()
    try:
        if override.is_interval_sweep():
            return _interval(sweep)
        if getattr(sweep, "tags", None):
            raise ValueError("only an interval can be tagged: tag(log, interval(1,10))")
        if getattr(sweep, "shuffle", False):
            raise ValueError("a search has no order: leave shuffle out")
        return _range(sweep) if override.is_range_sweep() else _choice(list(override.sweep_iterator()))
    except ValueError as error:
        raise InputError(f"{override.get_key_element()} is {override.get_value_string()}; {error}") from error


def _interval(sweep: IntervalSweep) -> BaseDistribution:
    low, high = sweep.start, sweep.end
    if sweep.tags - {"log"}:
        raise ValueError("the only tag is log, and whole numbers are int(interval(1,4))")
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("both ends must be finite numbers")
    if low > high:
        raise ValueError(f"the lower end comes first: interval({high:g},{low:g})")
    if sweep.tags and low <= 0:
        raise ValueError("with the tag log both ends must lie above 0")
    kind = IntDistribution if isinstance(low, int) and isinstance(high, int) else FloatDistribution
    return kind(low, high, log=bool(sweep.tags))


def _range(sweep: RangeSweep) -> BaseDistribution:
    given = (sweep.start, sweep.stop, sweep.step)
    if not all(math.isfinite(each) for each in given):
        raise ValueError("start, stop and step must be finite numbers")
    start, stop, step = (Decimal(str(each)) for each in given)  # as written: three steps of 0.1 are 0.3
    count = math.ceil((stop - start) / step) if step else 0
    if count < 1:
        raise ValueError("it has no values; its step must lead from start to stop: range(1,10,2)")
    low, high = sorted((start, start + (count - 1) * step))
    if all(isinstance(each, int) for each in given):
        return IntDistribution(int(low), int(high), step=abs(int(step)))
    return FloatDistribution(float(low), float(high), step=abs(float(step)))


def _choice(values: list[Any]) -> CategoricalDistribution:
    choices = [each if each is None or isinstance(each, bool | int | float) else written(each) for each in values]
    if not choices:
        raise ValueError("no option of the group matches")
    if len(set(choices)) < len(choices):
        raise ValueError("each choice must differ from the others, and Optuna takes 1, 1.0 and true for the same")
    return CategoricalDistribution(choices)
