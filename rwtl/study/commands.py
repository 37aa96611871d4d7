"""The command that makes a run again, found from its resolved configuration: that says what it is, not how it was asked
for."""

import shlex
from collections.abc import Sequence
from functools import cache
from typing import Any

from hydra import compose
from hydra.errors import HydraException
from omegaconf import OmegaConf

from rwtl.config import resolved_yaml
from rwtl.errors import InputError
from rwtl.study.compared_runs import ComparedRun
from rwtl.study.planning import planned
from rwtl.study.presets import CONF, composing, name_of_transfer, presets_of
from rwtl.study.rows import SOURCE, flat
from rwtl.training.transfer import PRETRAINING

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
