"""The data sets that a configuration knows by name."""

from collections.abc import Iterable
from typing import Any

from omegaconf import DictConfig

from rwtl.errors import InputError
from rwtl.study.recordings import setting


def catalogue(cfg: DictConfig, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the entries of the section `datasets` of these names; the others may hold values that are not set."""
    unknown = [name for name in names if name not in cfg.datasets]
    if unknown:
        raise InputError(f"there is no data set {unknown[0]}; the section datasets holds {', '.join(cfg.datasets)}")
    return {name: setting(cfg, f"datasets.{name}") for name in names}
