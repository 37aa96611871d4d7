"""The rows of a comparison: what each lays over the configuration, and what a comparison may mix."""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rwtl.config import typed
from rwtl.errors import InputError
from rwtl.study.recordings import setting
from rwtl.training.transfer import PRETRAINING

SOURCE = ("pretraining", "initial", "clips", "recording")  # what a source is made of, beside the model
AXES = ("transfer", *SOURCE, "model")
RunConfigs = dict[tuple[str, int], DictConfig]  # by row and seed


@dataclass
class ComparisonConfig:
    """What is compared.

    Rows may differ in where the encoder comes from and in what is made of it: `transfer`, `pretraining`, `initial`,
    `clips`, `recording`, and `model`, which source and target share. They never differ in the target task: an error
    says something about an encoder only beside errors on the same pairs (`evaluation`, `datasets`) after the same steps
    (`training`) on the same samples (`flow_data`). Nor in `trainer`: one precision holds for all.

    Args:
        conditions: by name, what a row lays over the configuration: sections, each with the keys that differ. A section
            that names another `kind` than the configured one replaces it as a whole.
        axes: the sections in which the rows may differ.
        rows: the names of those that are compared, in the order of the table.
        baseline: the row whose final EPE the others are measured by.
        seeds: every row is run with each of them.
        jobs: pre-trainings, then runs, side by side; they share `trainer.threads`. Small models train faster side by
            side than with many threads each.
    """

    conditions: dict[str, Any]
    axes: list[str]
    rows: list[str]
    baseline: str
    seeds: list[int]
    jobs: int

    def __post_init__(self):
        for row in [*self.rows, self.baseline]:
            if row not in self.conditions:
                raise InputError(f"comparison names the row {row}; the conditions are {', '.join(self.conditions)}")
        if self.baseline not in self.rows:
            raise InputError(f"comparison.baseline is {self.baseline}, none of the rows {', '.join(self.rows)}")
        for key, values in (("rows", self.rows), ("seeds", self.seeds)):
            if len(set(values)) < max(1, len(values)):
                raise InputError(f"comparison.{key} is {list(values)}; it must name each once, and at least one")
        if self.jobs < 1:
            raise InputError(f"comparison.jobs is {self.jobs}; it must be at least 1")
        for axis in self.axes:
            if axis not in AXES:
                raise InputError(
                    f"comparison.axes names {axis}; rows may differ in {', '.join(AXES)} alone: all else is the same "
                    "task and recipe for every row"
                )
        for name, overlay in self.conditions.items():
            self._check(name, overlay)

    def _check(self, name: str, overlay: Any) -> None:
        if not isinstance(overlay, dict) or not all(isinstance(keys, dict) for keys in overlay.values()):
            raise InputError(f"comparison.conditions.{name} is {overlay}; it must hold sections, each with keys")
        for section in overlay:
            if section not in self.axes:
                raise InputError(
                    f"comparison.conditions.{name} changes {section}, but the rows differ in {', '.join(self.axes)} "
                    f"alone; leave it out{f', or add {section} to comparison.axes' if section in AXES else ''}"
                )


def comparison_config(cfg: DictConfig) -> ComparisonConfig:
    """Return the checked section `comparison`, whose conditions may refer to the rest of the configuration."""
    # The seed stands for any: where the configuration refers to it, each run has its own.
    return typed(ComparisonConfig, setting(_with(cfg, seed=0), "comparison"), "comparison")


def run_configs(cfg: DictConfig, config: ComparisonConfig) -> RunConfigs:
    """Return the configuration of every run; those of a row differ in `seed` alone.

    Raises InputError where a row has no transfer, where two rows come to the same configuration, and where transfers of
    one name differ: tables and logs would not tell them apart.
    """
    runs = {(row, seed): _laid_over(_with(cfg, seed=seed), row) for row in config.rows for seed in config.seeds}
    first = {row: runs[row, config.seeds[0]] for row in config.rows}
    for row, run in first.items():
        if setting(run, "transfer") is None:
            raise InputError(f"comparison.conditions.{row} has no transfer; give it one of the group, such as scratch")
    for (one, run1), (other, run2) in combinations(first.items(), 2):
        if determining(run1) == determining(run2):
            raise InputError(
                f"the rows {one} and {other} come to the same configuration: what they are trained with and, where "
                "their transfer's source is the pre-training, all before it is equal; change one, or leave one out"
            )
        transfer1, transfer2 = setting(run1, "transfer"), setting(run2, "transfer")
        if transfer1["name"] == transfer2["name"] and transfer1 != transfer2:
            raise InputError(
                f"the rows {one} and {other} have different transfers of one name, {transfer1['name']}; give one of "
                "them another transfer.name"
            )
    return runs


def needs_pretraining(run: DictConfig) -> bool:
    """Return whether a run loads the configured pre-training, not another checkpoint or none."""
    return setting(run, "transfer")["source"] == PRETRAINING


def determining(run: DictConfig) -> dict[str, Any]:
    """Return the sections in which rows may differ, as far as they determine this run; names play no part."""
    sections = AXES if needs_pretraining(run) else ("transfer", "model")
    values = {section: setting(run, section) for section in sections}
    return values | {"transfer": {key: value for key, value in values["transfer"].items() if key != "name"}}


def difference(cfg: DictConfig, run: DictConfig, row: str) -> str:
    """Return what a row changes in the configuration, such as `clips.dt 4 · pretraining.iterations 8`.

    A transfer is told by its name, unless it is the row's own; a section of another kind by its kind; and what plays no
    part in the run is left out.
    """
    configured = _with(cfg, seed=run.seed)
    name = setting(run, "transfer")["name"]
    parts = [] if name == row else [f"transfer {name}"]
    for section, new in determining(run).items():
        if section == "transfer":
            continue
        old = setting(configured, section)
        if new.get("kind") != old.get("kind"):
            parts.append(f"{section} {new['kind']}")
        else:
            before = _flat(old)
            parts += [f"{section}.{key} {_short(value)}" for key, value in _flat(new) if (key, value) not in before]
    return " · ".join(parts)


def _with(cfg: DictConfig, **changes: Any) -> DictConfig:
    """The configuration with other keys; `transfer` and `seed` are keys that the comparison's own has not."""
    extended = cfg.copy()
    OmegaConf.set_struct(extended, False)
    return OmegaConf.merge(extended, changes)


def _laid_over(cfg: DictConfig, row: str) -> DictConfig:
    run = _with(cfg)
    for section, keys in setting(cfg, "comparison")["conditions"][row].items():
        configured = setting(cfg, section)
        replaces = configured is None or keys.get("kind", configured.get("kind")) != configured.get("kind")
        OmegaConf.update(run, section, keys, merge=not replaces)
    return run


def _flat(section: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    parts = []
    for key, value in section.items():
        parts += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return parts


def _short(value: Any) -> str:
    """As one would write it on the command line; a list of sections is told by its length."""
    if isinstance(value, list):
        sections = any(isinstance(part, dict) for part in value)
        return f"of {len(value)}" if sections else f"[{', '.join(map(_short, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
