"""Every section of a configuration checked by its class, whether what is made needs it or not."""

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rwtl.config import setting
from rwtl.errors import InputError, NotSet
from rwtl.keys import require_known
from rwtl.sections import require_numbers, typed


def check_sections(cfg: DictConfig) -> None:
    """Raise InputError where a section has a key that its class does not know, or a value that does not fit.

    What a section does not set is an error only where it is needed, and is told there.
    """
    if cfg.get("local") is not None:
        raise InputError("local/default.yaml sets nothing: its first line must be # @package _global_")
    require_known(cfg)
    for name, check in _CHECKS.items():
        section = cfg.get(name)
        # A preset such as debug=tiny sets keys of sections that an app does not have, which are then without a kind.
        if OmegaConf.is_config(section) and (name not in ("clips", "pretraining") or "kind" in section):
            try:
                check(cfg, name)
            except NotSet:
                continue


def _of_class(module: str, cls: str) -> Callable[[DictConfig, str], Any]:
    def check(cfg: DictConfig, name: str) -> None:
        from importlib import import_module  # what a program does not need is not imported

        typed(getattr(import_module(module), cls), setting(cfg, name), name)

    return check


def _recording(cfg: DictConfig, name: str) -> None:
    from rwtl.pipeline.recording import recording_configs

    recording_configs(cfg)


def _engine(cfg: DictConfig, name: str) -> None:
    require_numbers(setting(cfg, name), name)  # the rest needs Brian2, which takes seconds to import


def _clips(cfg: DictConfig, name: str) -> None:
    from rwtl.pipeline.source_task import CLIPS, of_kind

    of_kind(cfg, name, CLIPS)


def _pretraining(cfg: DictConfig, name: str) -> None:
    from rwtl.pipeline.source_tasks import recipe_of

    recipe_of(cfg)


_ESTIMATION = _of_class("rwtl.learning.evaluation", "EstimationConfig")
_TRANSFER = _of_class("rwtl.learning.transfer.config", "TransferConfig")
_CHECKS: dict[str, Callable[[DictConfig, str], Any]] = {
    "recording": _recording,
    "engine": _engine,
    "clips": _clips,
    "model": _of_class("rwtl.models.parts", "ModelConfig"),
    "pretraining": _pretraining,
    "initial": _TRANSFER,
    "transfer": _TRANSFER,
    "training": _of_class("rwtl.learning.tasks.optical_flow", "FlowRecipe"),
    "flow_data": _of_class("rwtl.flow.catalogue", "FlowDataConfig"),
    "evaluation": _ESTIMATION,
    "submission": _ESTIMATION,
    "trainer": _of_class("rwtl.learning.recipe", "TrainerConfig"),
}
# By which kinds of artifacts a section, or a key, is read.
_READ_BY = {
    "recording": {"recording"},
    "engine": {"recording"},
    "clips": {"pretraining"},
    "pretraining": {"pretraining"},
    "initial": {"pretraining"},
    "transfer": {"training"},
    "training": {"training"},
    "flow_data": {"training"},
    "start_from": {"training"},
    "model": {"pretraining", "training"},
    "evaluation": {"evaluation", "comparison"},
}


def without_effect(keys: list[str], kinds: set[str], cfg: DictConfig) -> list[str]:
    """Return those of the keys, or groups, that play no part in artifacts of these kinds.

    Args:
        keys: that a command line sets.
        kinds: of all that is made or used.
        cfg: the configuration; a key to which another refers may play a part by that.
    """
    text = OmegaConf.to_yaml(cfg)
    idle = []
    for key in keys:
        section = key.partition(".")[0].partition("/")[0].partition("@")[0]
        readers = {"recording"} if key == "clips.recordings" else _READ_BY.get(section, kinds)
        if not readers & kinds and f"${{{key}" not in text and f"${{{section}}}" not in text:
            idle.append(key)
    return idle
