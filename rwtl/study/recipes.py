"""What determines a run's result, by the configuration's keys, and what runs of a comparison may differ in."""

from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from rwtl.errors import InputError
from rwtl.study.compared_runs import ComparedRun
from rwtl.study.rows import FRACTION, SOURCE, flat, short
from rwtl.training.transfer import PRETRAINING

Recipe = dict[str, Any]  # values by key of the configuration, such as clips.dt
DATA = "data."
SEED = "pretraining.seed"
SHOWN = 8  # differences that a message lists


def recipe_of(run: ComparedRun) -> Recipe:
    """Return what determines a run's result, but for its seed, by key.

    What comes before a pre-training is left out where the transfer does not load it. Folders do not determine a result:
    data sets count by what is in them.
    """
    config = run.config
    pretrained = config["transfer"].get("source") == PRETRAINING
    sections = ("model", "transfer", "training", "flow_data", *(SOURCE if pretrained else ()))
    found = {key: value for section in sections for key, value in flat(config.get(section) or {}, f"{section}.")}
    for named in ("transfer.name", "initial.name"):
        found.pop(named, None)
    found["trainer.precision"] = config["trainer"]["precision"]
    if run.data is None:
        found["start_from"] = config.get("start_from")
        found |= _datasets(config)
    else:
        found["start_from"], found["format"] = run.data["start_from"], run.data["format"]
        found |= {f"{DATA}{part}": str(data) for part, data in run.data["flow_data"].items()}
    return found


def recipes_of(runs: Sequence[ComparedRun]) -> dict[str, Recipe]:
    """Return the recipes of runs that are compared, by id.

    Where every run's pre-training has the run's own seed, that is no difference between them.
    """
    recipes = {run.id: recipe_of(run) for run in runs}
    seeds = {run.id: recipes[run.id][SEED] for run in runs if SEED in recipes[run.id]}
    if all(seeds.get(run.id, run.seed) == run.seed for run in runs):
        for id in seeds:
            recipes[id][SEED] = "seed"
    return recipes


def _datasets(config: dict[str, Any]) -> Recipe:
    """The entries of data sets that a training uses, of a run whose data nobody has looked at."""
    used = [*config["flow_data"]["training"], *config["flow_data"]["validation"]]
    entries = {name: {k: v for k, v in config["datasets"][name].items() if k != "root"} for name in used}
    return dict(flat(entries, "datasets."))


def covers(axes: Iterable[str], key: str) -> bool:
    """Return whether a key is one of the axes, or in a section that is."""
    return any(key == axis or key.startswith(f"{axis}.") for axis in axes)


def require_one_recipe(recipes: dict[str, Recipe], axes: Sequence[str]) -> None:
    """Raise InputError where runs differ in anything but the axes, with what they differ in.

    Args:
        recipes: by run. What a run does not have, for it loads no pre-training, or one of another kind where that is an
            axis, is no difference.
        axes: keys or sections; `flow_data.fraction` is always one.
    """
    wanted: dict[str, dict[str, list[str]]] = {}
    for run, recipe in recipes.items():
        for key, value in recipe.items():
            if not covers((*axes, FRACTION), key):
                place = f"{key} at {FRACTION} {recipe[FRACTION]:g}" if key.startswith(DATA) else key
                wanted.setdefault(place, {}).setdefault(short(value), []).append(run)
    mixed = {key: by_value for key, by_value in wanted.items() if len(by_value) > 1}
    if not mixed:
        return
    said = []
    for key, by_value in list(mixed.items())[:SHOWN]:
        counted = [f"{value[:60]} ({len(runs)} runs, such as {runs[0]})" for value, runs in by_value.items()]
        said.append(f"{key}: {' | '.join(counted)}")
    more = f"; and {len(mixed) - SHOWN} keys more" if len(mixed) > SHOWN else ""
    raise InputError(
        f"the runs differ in more than {', '.join(axes) or 'their seed'}, so no difference between them has one cause: "
        f"{'; '.join(said)}{more}. Name such a key in rows or columns, or give fewer runs"
    )


def axis_values(recipes: dict[str, Recipe], axis: str, names: dict[str, str]) -> dict[str, str | None]:
    """Return each run's value on an axis, as a text; None where it has none, such as clips.dt of a run from scratch.

    Args:
        recipes: by run.
        axis: a key; or a section, of which the value is what differs between runs, `transfer` by its name.
        names: the transfers' names by run.

    Raises InputError where no run has such a key.
    """
    if axis == "transfer":
        return dict(names)
    keys = list(dict.fromkeys(key for recipe in recipes.values() for key in recipe if covers([axis], key)))
    if not keys:
        known = sorted({key for recipe in recipes.values() for key in recipe if not key.startswith(DATA)})
        near = [key for key in known if key.rpartition(".")[2] == axis.rpartition(".")[2]]
        near = near or get_close_matches(axis, known)
        hint = f"did you mean {', '.join(near)}?" if near else f"keys are {', '.join(known)}"
        raise InputError(f"{axis} is no key that determines any of the runs; {hint}")
    if keys == [axis]:
        return {run: short(recipe[axis]) if axis in recipe else None for run, recipe in recipes.items()}
    usual = {key: _most_common(recipe[key] for recipe in recipes.values() if key in recipe) for key in keys}
    kinds = f"{axis}.kind"
    values: dict[str, str | None] = {}
    for run, recipe in recipes.items():
        own = {key: recipe[key] for key in keys if key in recipe}
        if own and own.get(kinds) != usual.get(kinds):
            values[run] = str(own[kinds])
        else:
            differing = {key: short(value) for key, value in own.items() if short(value) != usual[key]}
            told = [f"{key.removeprefix(f'{axis}.')} {value}" for key, value in differing.items()]
            values[run] = ", ".join(told) or None
    return values


def _most_common(values: Iterable[Any]) -> str:
    return Counter(map(short, values)).most_common(1)[0][0]
