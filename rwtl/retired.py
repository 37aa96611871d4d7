"""Words of earlier versions' command lines, and what they are called now."""

from collections.abc import Iterable

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException

from rwtl.errors import InputError

_LEFT_OUT = "leave it out"
_QUESTIONS = (
    "context_encoder controls displacement domain_gap motion_variety sequence_length source_tasks study".split()
)
_SCHEDULES = ("chairs", "things", "sintel", "kitti")
_CHOICES = {("comparison", name): f"write experiment={name}" for name in _QUESTIONS}
_CHOICES |= {("training", name): f"write experiment={name}" for name in _SCHEDULES}
_CHOICES |= {
    (group, f"{name}_mixed"): f"write experiment={name} recipe=mixed"
    for group in ("training", "experiment")
    for name in _SCHEDULES
}
_CHOICES |= {
    ("transfer", name): f"write transfer={name_now} transfer.shuffle_weights=true transfer.name={name}"
    for name, name_now in {"shuffled": "freeze_none", "shuffled_frozen": "freeze_encoder"}.items()
}
_CHOICES |= {(group, "default"): _LEFT_OUT for group in ("analysis", "paths", "hydra_settings")}
_KEYS = {
    "comparison.axes": "leave it out: rows may differ in whatever their conditions name",
    "comparison.jobs": "write executor.jobs",
}


def require_current(words: Iterable[str]) -> None:
    """Raise InputError where an override is written as in an earlier version, with what it is called now.

    Args:
        words: overrides of a command line. Those that make no sense at all are left to Hydra.
    """
    for word in words:
        try:
            [override] = OverridesParser.create().parse_overrides([word])
        except HydraException:
            continue
        key = override.key_or_group
        if key in _KEYS:
            raise InputError(f"{key} is of an earlier version; {_KEYS[key]}")
        for value in _values(override):
            if (key, value) in _CHOICES:
                raise InputError(f"{key}={value} is of an earlier version; {_CHOICES[key, value]}")


def _values(override: Override) -> list[str]:
    if override.value_type == ValueType.GLOB_CHOICE_SWEEP:  # which matches only what there is now
        return []
    if override.is_choice_sweep():
        return list(override.sweep_string_iterator())
    value = override.value()
    return [str(each) for each in (value if isinstance(value, list) else [value])]
