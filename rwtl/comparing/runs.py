"""Finished runs as a comparison reads them, wherever they are, and what they may differ in."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from difflib import get_close_matches
from glob import glob
from pathlib import Path
from statistics import mode
from typing import Any

import pandas as pd
import yaml
from omegaconf import DictConfig, OmegaConf

from rwtl import files
from rwtl.comparing.conditions import FRACTION, SOURCE
from rwtl.composition import presets
from rwtl.config import at_home, expanded, flat, short
from rwtl.errors import Damaged, InputError
from rwtl.learning.metrics import METRICS
from rwtl.learning.transfer.config import PRETRAINING
from rwtl.pipeline.status import FORMAT, read_status
from rwtl.sections import Seed, checked
from rwtl.sweeps.jobs import SWEEPS, read_jobs
from rwtl.tracking.read_back import WandbRun, by_own_names, is_online, online_runs, read_runs

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C, where PyYAML has it, ten times faster
DEEPEST = 100  # levels of a configuration
TRAINING = "training"
DATA = "data."
SEED = "pretraining.seed"
SHOWN = 8  # differences that a message lists
Recipe = dict[str, Any]  # values by key of the configuration, such as clips.dt


@dataclass(frozen=True)
class Run:
    """A finished training with its evaluations, wherever it was read.

    Args:
        id: `training-digest`, by which what is read from several places is one run.
        config: the whole resolved configuration.
        curve: validation over `step`, one column for each metric.
        errors: of each evaluation, its values (iterations, data sets) and one row for each pair.
        data: identity of the training and validation data, the format, and digests of plug-ins' texts; None where only
            W&B tells of the run.
        seconds: of the training; nan where that is not known.
        upstream: seconds of each artifact that the training needs, by `kind-digest`.
        folder: of the artifact; None where only W&B tells of the run.
        evaluations: folders of the evaluations that `errors` are from.
    """

    id: str
    config: dict[str, Any] = field(repr=False)
    curve: pd.DataFrame = field(repr=False)
    errors: list[tuple[dict[str, Any], pd.DataFrame]] = field(default_factory=list, repr=False)
    data: dict[str, Any] | None = field(default=None, repr=False)
    seconds: float = float("nan")
    upstream: dict[str, float] = field(default_factory=dict, repr=False)
    folder: Path | None = None
    evaluations: list[Path] = field(default_factory=list, repr=False)

    @property
    def seed(self) -> int:
        return self.config["seed"]


class Runs(list[Run]):
    """Runs that were found, and `notes` on what was left out."""

    notes: Sequence[str] = ()


def find_runs(*sources: str | Path) -> Runs:
    """Return the finished trainings that are found, with their evaluations: a list, with `notes` on what was left out.

    Args:
        sources: folders, with * for any, of artifacts (trainings, evaluations or comparisons), of sweeps
            (`outputs/sweeps/NAME`) or of W&B's runs (`outputs/wandb`); or `wandb:entity/project` for those on its
            server.

    A run that is found twice counts once; what its artifact says counts before what W&B says.

    Raises:
        InputError: Nothing is found, or a folder is none of these.

    >>> runs = rwtl.find_runs("outputs/training/*")
    >>> sorted((run.config["transfer"]["name"], run.seed) for run in runs)
    [('freeze_encoder', 1), ('scratch', 1)]
    """
    folders: dict[Path, None] = {}
    wandb: list[WandbRun] = []
    notes: list[str] = []
    sources = tuple(map(str, at_home(sources)))
    for source in sources:
        if is_online(source):
            wandb += online_runs(source)
            continue
        matches = sorted(Path(match) for match in glob(source) if Path(match).is_dir())
        if not matches:
            raise InputError(f"runs: nothing matches {source}; give folders of artifacts, sweeps or W&B's runs")
        for match in matches:
            if any(match.glob("*run-*/run-*.wandb")):
                wandb += read_runs(match, notes)
                continue
            try:
                places = _places_at(match)
            except Damaged as error:
                notes.append(f"{match} is left out: {error}")
                continue
            for place in places:
                try:
                    folders |= dict.fromkeys(_trainings_at(place))
                except Damaged as error:
                    notes.append(f"{place} is left out: {error}")
    found: dict[str, Run] = {}
    for folder in folders:
        try:
            if reason := _unusable(folder):
                raise Damaged(reason)
            run = load_run(folder)
        except Damaged as error:
            notes.append(f"{folder} is left out: {error}")
        else:
            found.setdefault(run.id, run)
    for run in wandb:
        if run.job_type == TRAINING and run.id not in found:
            history = by_own_names(run.history)
            if history.empty or "epe" not in history:
                notes.append(f"W&B's run {run.id} is left out: it has no validation")
                continue
            config = {key: value for key, value in run.config.items() if not key.startswith("_")}
            known = [metric for metric in METRICS if metric in history]  # of a validation not all are nan
            of_wandb = Run(run.id, config, history.dropna(subset=known, how="all").reset_index(drop=True))
            try:
                recipe_of(of_wandb)
                checked(Seed, config["seed"], "seed")
            except (AttributeError, InputError, KeyError, TypeError) as error:
                reason = f"its configuration is not that of a training of rwtl's ({type(error).__name__}: {error})"
                notes.append(f"W&B's run {run.id} is left out: {reason}")
            else:
                found[run.id] = of_wandb
    if not found:
        left_out = "; ".join(notes)
        raise InputError(f"runs: no training is found in {', '.join(sources)}" + (f". {left_out}" if notes else ""))
    runs = Runs(_with_evaluations(list(found.values()), notes))
    runs.notes = notes
    return runs


def parents_of(folder: Path) -> dict[str, Path]:
    """Return the folders of what an artifact is made from, by role; of a folder that is no artifact, none."""
    parents = (read_status(folder) or {}).get("parents", {})
    return {role: folder.parents[1] / role.split()[0] / digest for role, digest in parents.items()}


def load_run(folder: Path) -> Run:
    """Return the run of a finished training's artifact, without its evaluations.

    Raises Damaged where a file of it, or the status of what it is made from, is damaged.
    """
    status = read_status(folder) or {}
    values, config = status.get("values", {}), read_config(folder)
    if not isinstance(config.get("transfer"), dict) or "seed" not in config:
        file = folder / files.CONFIG
        raise Damaged(f"{file} is damaged (it is no configuration of a run); remove {folder}, and it is made anew")
    code = {"model.code": values.get("model", {}).get("code")}
    source = parents_of(folder).get(PRETRAINING)
    if source and (of_source := read_status(source)):
        code["pretraining.code"] = of_source.get("values", {}).get("pretraining", {}).get("code")
    data = {key: values.get(key) for key in ("flow_data", "start_from")} | {"format": status.get("format")}
    data["code"] = {key: digest for key, digest in code.items() if digest}
    curve = files.read_table(folder / files.CURVE, "step", "epe")
    if curve.empty:
        file = folder / files.CURVE
        raise Damaged(f"{file} is damaged (it holds no validation); remove {folder}, and it is made anew")
    return Run(f"{TRAINING}-{folder.name}", config, curve, [], data, seconds_of(status), _upstream(folder), folder)


def read_config(folder: Path) -> dict[str, Any]:
    """Return the configuration that is kept with an artifact. Raises Damaged where it cannot be read, or is none."""
    file = folder / files.CONFIG
    text = files.text_of(file)
    try:
        config = _loaded(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Damaged(f"{file} is damaged ({reason}); remove {folder}, and it is made anew") from error
    if not isinstance(config, dict):
        raise Damaged(f"{file} is damaged (it is no configuration of a run); remove {folder}, and it is made anew")
    return config


def config_of(folder: Path) -> DictConfig:
    """Return the configuration that is kept with an artifact, to plan by. Raises Damaged as `read_config` does."""
    read_config(folder)
    return OmegaConf.load(folder / files.CONFIG)


def _loaded(text: str) -> Any:
    """Return what YAML holds. Raises ValueError where it is nested so deeply that the loader, in C, would crash."""
    depth = 0
    for event in yaml.parse(text, LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")
    return yaml.load(text, LOADER)


def with_evaluations(run: Run, folders: Sequence[Path]) -> Run:
    """Return the run with the errors of more evaluations' artifacts. Raises Damaged where a file of one is damaged."""
    tables = [files.read_table(folder / files.ERRORS, "dataset", "pair", "epe") for folder in folders]
    values = [(read_status(folder) or {}).get("values", {}) for folder in folders]
    errors = [*run.errors, *zip(values, tables, strict=True)]
    return replace(run, errors=errors, evaluations=[*run.evaluations, *folders])


def seconds_of(status: dict[str, Any]) -> float:
    """Return for how long jobs worked on an artifact, those that were interrupted included as far as they said so."""
    jobs = [*status.get("history", []), status]
    spans = [(job["started"], job["finished"]) for job in jobs if job.get("started") and job.get("finished")]
    return sum((datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds() for begin, end in spans)


def _upstream(folder: Path, before: Collection[Path] = ()) -> dict[str, float]:
    """Return the seconds of the artifacts that this one is made from, and of those before them."""
    seconds = {}
    for parent in parents_of(folder).values():
        if parent in (folder, *before):
            raise Damaged(f"{parent / files.STATUS} is damaged: it names itself among what it is made from")
        if status := read_status(parent):
            of_parent = {f"{parent.parent.name}-{parent.name}": seconds_of(status)}
            seconds |= of_parent | _upstream(parent, (folder, *before))
    return seconds


def _places_at(folder: Path) -> list[Path]:
    """Return the folders of what a sweep's jobs make; of what is no sweep, the folder itself."""
    if folder.parent.name != SWEEPS:
        return [folder]
    return [job.artifact.path for job in read_jobs(folder) if job.artifact]


def _trainings_at(folder: Path) -> list[Path]:
    """Return the folders of the trainings that an artifact's folder is, or that it tells of."""
    kind = folder.parent.name
    if kind in FORMAT and read_status(folder) is None:
        raise Damaged(f"it has no {files.STATUS}" if folder.exists() else "it is not there")
    if kind not in FORMAT:
        raise InputError(
            f"runs: {folder} is neither an artifact's folder (outputs/training/*), nor a sweep's (outputs/sweeps/*), "
            "nor W&B's (outputs/wandb)"
        )
    if kind == TRAINING:
        return [folder]
    return [parent for parent in parents_of(folder).values() if parent.parent.name == TRAINING]


def _unusable(folder: Path) -> str | None:
    status = read_status(folder)
    if status is None:
        return "it is not there"
    if status["state"] != "complete":
        return f"it is {status['state']}, not complete"
    if status.get("format") != FORMAT[TRAINING]:
        return f"it has format {status.get('format')}, now {FORMAT[TRAINING]}: train it again to compare it"
    return None


def _with_evaluations(runs: list[Run], notes: list[str]) -> list[Run]:
    """Return the runs with all finished evaluations of them in their outputs; note those that are of no use."""
    of_folder = {run.folder: run for run in runs if run.folder is not None}
    for outputs in {folder.parents[1] for folder in of_folder}:
        for folder in sorted((outputs / "evaluation").glob("*")):
            try:
                status = read_status(folder)
                if status is None or status["state"] != "complete":
                    continue
                run = of_folder.get(outputs / TRAINING / status.get("parents", {}).get(TRAINING, ""))
                if run is None:
                    continue
                if status.get("format") != FORMAT["evaluation"]:
                    raise Damaged(f"it has format {status.get('format')}, now {FORMAT['evaluation']}")
                of_folder[run.folder] = with_evaluations(run, [folder])
            except Damaged as error:
                notes.append(f"{folder} is left out: {error}")
    return [run if run.folder is None else of_folder[run.folder] for run in runs]


def recipe_of(run: Run) -> Recipe:
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
        catalogue = expanded(config["datasets"], "datasets")
        used = [*config["flow_data"]["training"], *config["flow_data"]["validation"]]
        entries = {name: {k: v for k, v in catalogue[name].items() if k != "root"} for name in used}
        found |= flat(entries, "datasets.")
    else:
        found["start_from"], found["format"] = run.data["start_from"], run.data["format"]
        found |= {f"{DATA}{part}": str(data) for part, data in run.data["flow_data"].items()}
        found |= run.data.get("code", {})
    return found


def recipes_of(runs: Sequence[Run]) -> dict[str, Recipe]:
    """Return the recipes of runs that are compared, by id.

    Where every run's pre-training has the run's own seed, that is no difference between them.
    """
    recipes = {run.id: recipe_of(run) for run in runs}
    seeds = {run.id: recipes[run.id][SEED] for run in runs if SEED in recipes[run.id]}
    if all(seeds.get(run.id, run.seed) == run.seed for run in runs):
        for id in seeds:
            recipes[id][SEED] = "seed"
    return recipes


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
    usual = {key: mode(short(recipe[key]) for recipe in recipes.values() if key in recipe) for key in keys}
    kinds = f"{axis}.kind"
    values: dict[str, str | None] = {}
    for run, recipe in recipes.items():
        own = {key: short(recipe[key]) for key in keys if key in recipe}
        if own and own.get(kinds) != usual.get(kinds):
            values[run] = own[kinds]
        else:
            differing = [f"{key.removeprefix(f'{axis}.')} {value}" for key, value in own.items() if value != usual[key]]
            values[run] = ", ".join(differing) or None
    return values


def name_of_transfer(transfer: dict[str, Any]) -> str:
    """Return the name of a freezing strategy: the preset's of the same keys, or else the one that it is given.

    A comparison names the transfers of its runs by its rows.
    """
    own = transfer | {"name": None}
    same = (name for name, preset in presets("transfer").items() if preset | {"name": None} == own)
    return next(same, str(transfer["name"]))
