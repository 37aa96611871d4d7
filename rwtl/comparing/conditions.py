"""The rows of a comparison: what each lays over the configuration, and what a comparison may mix."""

from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Annotated, Any

from omegaconf import DictConfig, OmegaConf

from rwtl.config import setting, short, without_like
from rwtl.errors import InputError
from rwtl.learning.transfer.config import PRETRAINING
from rwtl.sections import EachOnce, Seed, Unfit, UpTo1, section, typed

SOURCE = ("pretraining", "initial", "clips", "recording")  # what a source is made of, beside the model
AXES = ("transfer", *SOURCE, "model")
CONDITIONS = "comparison.conditions"
FRACTION = "flow_data.fraction"
RunConfigs = dict[tuple[str, int], DictConfig]  # by name of the condition and seed


@section("comparison")
class ComparisonConfig:
    """What is compared.

    Rows may differ in where the encoder comes from and in what is made of it: `transfer`, `pretraining`, `initial`,
    `clips`, `recording`, and `model`, which source and target share. They never differ in the target task: an error
    says something about an encoder only beside errors on the same pairs (`evaluation`, `datasets`) after the same steps
    (`training`) on the same samples (`flow_data`). Nor in `trainer`: one precision holds for all.

    Args:
        conditions: by name, what a row lays over the configuration: sections, each with the keys that differ. A section
            that names another `kind` than the configured one replaces it as a whole. `like` names another condition,
            over which this one is laid.
        rows: the names of those that are compared, in the order of the table.
        baseline: the row that the others are measured by, that of the same column and fraction where it depends on
            them; or one of its columns for all, such as `freeze_none dt 3`.
        seeds: every row is run with each of them.
        column, column_values: a key of one of these sections, such as clips.dt, and values: every row is run with each,
            but for those that set the key themselves, do not have it, or load no pre-training.
        fractions: of the training data, with which `fraction_rows` are run too: how much data does each need?
        fraction_rows: some of the rows, or of their columns, such as `freeze_none dt 3`.
    """

    conditions: dict[str, dict[str, dict[str, Any]]]
    rows: Annotated[list[str], EachOnce()]
    baseline: str
    seeds: Annotated[list[Seed], EachOnce()]
    column: str | None = None
    column_values: list[Any] = field(default_factory=list)
    fractions: list[UpTo1] = field(default_factory=list)
    fraction_rows: list[str] = field(default_factory=list)

    def __post_init__(self):
        for row in self.rows:
            if row not in self.conditions:
                raise Unfit(f"rows names {row}; the conditions are {', '.join(self.conditions)}")
        if not any(self.baseline == row or plain(self.baseline).startswith(f"{row} ") for row in self.rows):
            raise Unfit(f"baseline is {self.baseline}, none of the rows {', '.join(self.rows)}")
        for name, overlay in self.conditions.items():
            for changed in overlay:
                if changed not in AXES:
                    raise Unfit(f"conditions.{name} changes {changed}; rows may differ in {', '.join(AXES)} alone")
        values, fractions, rows = self.column_values, self.fractions, self.fraction_rows
        if (self.column is None) != (not values):
            raise Unfit(f"column is {self.column} and column_values {values}; give both, or neither")
        if self.column is not None and self.column.partition(".")[0] not in SOURCE:
            raise Unfit(f"column is {self.column}; choose a key of {', '.join(SOURCE)}")
        if len(set(map(str, values))) < len(values):
            raise Unfit(f"column_values is {values}; name each value once")
        if bool(fractions) != bool(rows):
            raise Unfit(f"fractions is {fractions} and fraction_rows {rows}; give both, or neither")


@dataclass(frozen=True)
class Condition:
    """One cell of a comparison, run with every seed.

    Args:
        row: its name among the conditions.
        column: how people call its column, such as `dt 3`; None for a row that does not depend on it.
        fraction: of the training data; None for that of the configuration.
        keys: what column and fraction set, with dots, and to which values.
    """

    row: str
    column: str | None = None
    fraction: float | None = None
    keys: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """How people and logs call it: `freeze_none · dt 3 · 5 % of data`."""
        fraction = None if self.fraction is None else percentage(self.fraction)
        return " · ".join(filter(None, [self.row, self.column, fraction]))


def plain(name: str) -> str:
    """Return a condition's name as one types it: without the dots between its parts."""
    return " ".join(name.replace("·", " ").split())


def percentage(fraction: float) -> str:
    """Return how a part of the training data is called."""
    return f"{100 * fraction:g} % of data"


def comparison_config(cfg: DictConfig) -> ComparisonConfig:
    """Return the checked section `comparison`, whose conditions may refer to the rest of the configuration."""
    # The seed stands for any: where the configuration refers to it, each run has its own.
    cfg = without_like(_of_seed(cfg, 0), CONDITIONS)
    return typed(ComparisonConfig, setting(cfg, "comparison"), "comparison")


def conditions_of(cfg: DictConfig, config: ComparisonConfig) -> dict[str, Condition]:
    """Return what is to be run, by name: row by row, its columns, and those again with smaller parts of the data."""
    cfg = without_like(cfg, CONDITIONS)
    found = []
    key = config.column or ""
    section, _, last = key.rpartition(".")
    laid_over = {row: _laid_over(_of_seed(cfg, 0), row) for row in config.rows} if key else {}
    having = [row for row, run in laid_over.items() if last in (OmegaConf.select(run, section) or {})]
    if key and not having:
        raise InputError(f"comparison.column is {key}, which no row has; give a key of the configuration")
    for row in config.rows:
        of_row = OmegaConf.create(config.conditions[row])
        if row in having and needs_pretraining(laid_over[row]) and OmegaConf.select(of_row, key) is None:
            found += [Condition(row, f"{last} {short(value)}", keys={key: value}) for value in config.column_values]
        else:
            found.append(Condition(row))
    whole = {condition.name: condition for condition in found}
    for name in config.fraction_rows:
        of_name = [each for each in whole.values() if plain(name) in (each.row, plain(each.name))]
        if not of_name:
            raise InputError(f"comparison.fraction_rows names {name}; the conditions are {', '.join(whole)}")
        for part in config.fractions:
            found += [replace(each, fraction=part, keys=each.keys | {FRACTION: part}) for each in of_name]
    return {condition.name: condition for condition in found}


def run_configs(cfg: DictConfig, config: ComparisonConfig) -> RunConfigs:
    """Return the configuration of every run; those of a condition differ in `seed` alone.

    Raises InputError where a row has no transfer, where two come to the same configuration, and where transfers of one
    name differ: tables and logs would not tell them apart.
    """
    cfg = without_like(cfg, CONDITIONS)
    for row in config.rows:
        if "transfer" not in config.conditions[row] and OmegaConf.select(cfg, "transfer") is None:
            raise InputError(f"comparison.conditions.{row} has no transfer; give it one of the group, such as scratch")
    conditions = conditions_of(cfg, config)
    runs = {}
    for name, condition in conditions.items():
        for seed in config.seeds:
            run = runs[name, seed] = _laid_over(_of_seed(cfg, seed), condition.row)
            for key, value in condition.keys.items():
                OmegaConf.update(run, key, value)
    first = {name: runs[name, config.seeds[0]] for name in conditions}
    transfers = {name: setting(run, "transfer") for name, run in first.items()}
    determined = {}
    for name, run in first.items():
        sections = AXES if needs_pretraining(run) else ("transfer", "model")
        determined[name] = {key: setting(run, key) for key in (*sections, FRACTION)}
        determined[name]["transfer"] = transfers[name] | {"name": None}
    for one, other in combinations(first, 2):
        if determined[one] == determined[other]:
            raise InputError(
                f"the rows {one} and {other} come to the same configuration: what they are trained with and, where "
                "their transfer's source is the pre-training, all before it is equal; change one, or leave one out"
            )
        if transfers[one]["name"] == transfers[other]["name"] and transfers[one] != transfers[other]:
            raise InputError(
                f"the rows {one} and {other} have different transfers of one name, {transfers[one]['name']}; give "
                "one of them another transfer.name"
            )
    return runs


def needs_pretraining(run: DictConfig) -> bool:
    """Return whether a run loads the configured pre-training, not another checkpoint or none."""
    return setting(run, "transfer")["source"] == PRETRAINING


def _of_seed(cfg: DictConfig, seed: int) -> DictConfig:
    """Return the configuration with a seed; a comparison's own has none, and no `transfer`, which rows lay over it."""
    extended = cfg.copy()
    OmegaConf.set_struct(extended, False)
    extended.seed = seed
    return extended


def _laid_over(run: DictConfig, row: str) -> DictConfig:
    """Return a configuration after a row's keys were laid over it, in place: copying one takes 20 ms."""
    for changed, keys in setting(run, "comparison")["conditions"][row].items():
        configured = setting(run, changed)
        replaces = configured is None or keys.get("kind", configured.get("kind")) != configured.get("kind")
        OmegaConf.update(run, changed, keys, merge=not replaces)
    return run
