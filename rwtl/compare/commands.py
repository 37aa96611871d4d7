"""Which choice of a group a section of a configuration is: a configuration that was resolved does not say it."""

import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from rwtl.compare.conditions import SOURCE
from rwtl.compare.runs import ComparedRun
from rwtl.config import CONF, flat, resolved_yaml
from rwtl.errors import InputError
from rwtl.pipeline.planning import planned
from rwtl.training.transfer.config import PRETRAINING


@cache
def presets_of(group: str) -> dict[str, dict[str, Any]]:
    """Return the choices of a group of `conf/`, by name; none where the package was installed without them."""
    return {file.stem: OmegaConf.to_container(_preset(file)) for file in sorted((CONF / group).glob("*.yaml"))}


def _preset(file: Path) -> DictConfig:
    """A choice with those that it begins with: `- rings` is one of its own group, `- cell: g12_v72` a section in it."""
    own = OmegaConf.load(file)
    found = OmegaConf.create()
    for entry in own.pop("defaults", []):
        if OmegaConf.is_dict(entry):
            found.update({key: _preset(file.parent / key / f"{choice}.yaml") for key, choice in entry.items()})
        elif entry != "_self_":
            found = OmegaConf.merge(found, _preset(file.parent / f"{entry}.yaml"))
    return OmegaConf.merge(found, own)


def name_of_transfer(transfer: dict[str, Any]) -> str:
    """Return the name of the freezing strategy: the preset's of the same keys, or else the one it is given.

    A comparison names the transfers of its runs by its rows.
    """
    own = {key: value for key, value in transfer.items() if key != "name"}
    for name, preset in presets_of("transfer").items():
        if own == {key: value for key, value in preset.items() if key != "name"}:
            return name
    return str(transfer["name"])


def composing() -> AbstractContextManager:
    """Within it Hydra composes from `conf/`: an app of Hydra's can do so already."""
    return (
        nullcontext()
        if GlobalHydra.instance().is_initialized()
        else initialize_config_dir(str(CONF), version_base="1.3")
    )


TARGET = ("model", "transfer", "flow_data", "training")
APP = "evaluate"
GROUPS = {"initial": "transfer@initial"}


def command_of(runs: Sequence[ComparedRun]) -> str:
    """Return the command that trains and evaluates runs of one condition again, one for each seed.

    Args:
        runs: of one condition, so that they differ in their seed alone.
    """
    overrides = overrides_of(runs[0])
    seeds = [run.seed for run in runs]
    if all(run.config["pretraining"]["seed"] == run.seed for run in runs):
        overrides = [each for each in overrides if not each.startswith("pretraining.seed=")]
        if runs[0].config["transfer"].get("source") == PRETRAINING:
            overrides.append("pretraining.seed=${seed}")
    many = ["-m"] if len(seeds) > 1 else []
    words = [f"experiments/{APP}.py", *many, *overrides, f"seed={','.join(map(str, seeds))}"]
    return shlex.join(["python", *words])


def overrides_of(run: ComparedRun) -> list[str]:
    """Return what has to be set, on the command line of evaluate.py, for all that determines a run but its seed."""
    wanted = _wanted(run)
    chosen = []
    for section in dict.fromkeys(key.partition(".")[0] for key in wanted):
        choice = _nearest(section, wanted)
        if choice is not None:
            chosen.append(f"{GROUPS.get(section, section)}={choice}")
    before = _composed(tuple(chosen))
    set_ = [f"{key}={_written(value)}" for key, value in wanted.items() if key in before and before[key] != value]
    added = [f"+{key}={_written(value)}" for key, value in wanted.items() if key not in before]
    sections = {key.partition(".")[0] for key in wanted} - {"datasets", "trainer", "paths"}
    removed = [f"~{key}" for key in before if key.partition(".")[0] in sections and key not in wanted]
    return [*_not_default(chosen), *set_, *added, *removed]


def digest_by(overrides: Sequence[str], seed: int) -> str:
    """Return the digest of the training that a command line asks for. Raises InputError where it makes no sense."""
    try:
        with composing():
            steps = planned("train", compose("train", overrides=[*_of_training(overrides), f"seed={seed}"]))
    except HydraException as error:
        raise InputError(str(error).splitlines()[0]) from error
    return steps[-1].digest


def _of_training(overrides: Sequence[str]) -> list[str]:
    """Return what is not about the evaluation, which the experiment train.py has not."""
    return [each for each in overrides if not each.lstrip("+~").startswith("evaluation")]


def _wanted(run: ComparedRun) -> dict[str, Any]:
    """What determines the run, by key, and where its data is."""
    config = run.config
    sections = [*TARGET, *(SOURCE if config["transfer"].get("source") == PRETRAINING else ())]
    if "evaluation" in config:
        sections.append("evaluation")
    found = {key: value for section in sections for key, value in flat(config[section], f"{section}.")}
    found["transfer.name"] = name_of_transfer(config["transfer"])
    if "initial.name" in found:
        found["initial.name"] = name_of_transfer(config["initial"])
    found["trainer.precision"] = config["trainer"]["precision"]
    found["start_from"] = config.get("start_from")
    used = [*config["flow_data"]["training"], *config["flow_data"]["validation"]]
    used += config.get("evaluation", {}).get("datasets", [])
    for name in dict.fromkeys(used):
        entry = {key: value for key, value in config["datasets"][name].items() if key != "root"}
        found |= dict(flat(entry, f"datasets.{name}."))
    found |= {key: value for key, value in flat(config["paths"], "paths.") if key != "paths.outputs"}
    return found


def _nearest(section: str, wanted: dict[str, Any]) -> str | None:
    """Return the choice of a section's group from which fewest keys differ; None for a section without choices."""
    group = GROUPS.get(section, section).partition("@")[0]
    if section in ("datasets", "trainer", "paths") or not (CONF / group).is_dir():
        return None
    own = {key: value for key, value in wanted.items() if key.startswith(f"{section}.")}
    differing = {}
    for name, preset in presets_of(group).items():
        offered = dict(flat(preset, f"{section}."))
        differing[name] = sum(offered.get(key, ...) != own.get(key, ...) for key in {*own, *offered})
    return min(differing, key=lambda name: differing[name])


def _not_default(chosen: Sequence[str]) -> list[str]:
    defaults = {str(entry) for entry in _defaults()}
    return [choice for choice in chosen if choice not in defaults]


@cache
def _defaults() -> tuple[str, ...]:
    listed = OmegaConf.load(CONF / f"{APP}.yaml").defaults
    return tuple(f"{key}={value}" for entry in listed if OmegaConf.is_dict(entry) for key, value in entry.items())


@cache
def _composed(overrides: tuple[str, ...]) -> dict[str, Any]:
    with composing():
        config = compose(APP, overrides=list(overrides))
    return dict(flat(OmegaConf.to_container(OmegaConf.create(resolved_yaml(config)))))


def _written(value: Any) -> str:
    """Return a value in Hydra's grammar of the command line."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_written(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        plain = value and all(sign.isalnum() or sign in "_-./+" for sign in value)
        return value if plain and value not in ("null", "true", "false") else "'" + value.replace("'", "\\'") + "'"
    return repr(value)
