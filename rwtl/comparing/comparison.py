"""The comparison of runs over seeds: of those of one configuration, made where they are missing, or of any that are
there; then the report."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from rwtl import files
from rwtl.comparing.analysis import Comparison, analyse, cells_by_axes
from rwtl.comparing.conditions import FRACTION, RunConfigs, comparison_config, conditions_of, run_configs
from rwtl.comparing.measures import AnalysisConfig, Cell
from rwtl.comparing.report import write_report
from rwtl.comparing.runs import Run, Runs, find_runs, load_run, with_evaluations
from rwtl.comparing.summary import baseline_of
from rwtl.comparing.tables import print_comparison, write_tables
from rwtl.config import outputs_folder, setting, short
from rwtl.errors import InputError
from rwtl.learning.transfer.config import PRETRAINING
from rwtl.pipeline.artifact import Artifact
from rwtl.pipeline.evaluation import evaluation
from rwtl.sections import typed

PlannedRuns = dict[tuple[str, int], Artifact]  # by condition and seed the evaluation, of which the training is a parent


@dataclass(frozen=True, eq=False)
class ComparisonArtifact(Artifact):
    """A comparison, planned or made.

    Args: those of Artifact, and
        analysis: of the runs, which are then complete; None for one that was found.
    """

    analysis: Callable[[], Comparison] | None = field(default=None, repr=False)

    @property
    def summary(self) -> pd.DataFrame:
        """The statistics over seeds, one line for each measure and cell."""
        return pd.read_csv(self.file(f"{files.COMPARISON}.csv"))

    @property
    def table(self) -> pd.DataFrame:
        """The tidy table of every run's measures."""
        return pd.read_csv(self.file(files.RUNS))

    @property
    def curves(self) -> pd.DataFrame:
        """The validations of every run."""
        return pd.read_csv(self.file(files.CURVES))

    @property
    def report(self) -> Path:
        """The path of the report, one page."""
        return self.file(files.REPORT)

    def show(self) -> None:
        """Print the tables, and where table and report are."""
        if self.analysis is not None:
            print_comparison(self.analysis())
        print(f"table:  {self.file(f'{files.COMPARISON}.csv')}\nreport: {self.report}")


def comparison(cfg: DictConfig) -> ComparisonArtifact:
    """Return the comparison of a configuration: of the finished runs that `runs` names, or else of those of the section
    `comparison`, which are its ancestors. It is a plan.

    The artifact holds `report.html`, `comparison.csv`, `.md` and `.tex`, `runs.csv` (the tidy table) and `curves.csv`.
    Where some runs cannot be made, `without` returns the comparison of the others.

    >>> planned = rwtl.comparison(rwtl.compose("compare", "debug=tiny", "comparison.rows=[scratch,freeze_encoder]"))
    >>> sorted({artifact.kind for artifact in planned.ancestors()})
    ['comparison', 'evaluation', 'pretraining', 'recording', 'training']
    """
    if cfg.runs is not None:
        return of_found(cfg, find_runs(*_texts(cfg, "runs")))
    for key in ("rows", "columns", "baseline"):
        if cfg[key] is not None:
            raise InputError(
                f"{key} is {cfg[key]}, which tells apart runs that are read; give runs=..., or set comparison.{key}"
            )
    _config(cfg)  # what is wrong with it ends here, before many runs are planned
    return _of_planned(cfg, planned_runs(run_configs(cfg, comparison_config(cfg))))


def planned_runs(configs: RunConfigs) -> PlannedRuns:
    """Return the evaluation of every run of a comparison, whose configurations are given.

    Raises InputError, with the row, where a run's configuration is bad.
    """
    runs = {}
    for (row, seed), of_run in configs.items():
        OmegaConf.update(of_run, "transfer.name", row)  # names the run in the log, and plays no part in its result
        try:
            runs[row, seed] = evaluation(of_run)
        except InputError as error:
            raise InputError(f"row {row}: {error}") from error
    return runs


def sources_of(runs: PlannedRuns) -> dict[str, Artifact]:
    """Return the pre-trainings, each by a name that lists the rows that load it, with seeds where those differ."""
    loaded = {key: source for key, run in runs.items() if (source := run.parents["training"].parents.get(PRETRAINING))}
    found = {}
    for digest in dict.fromkeys(source.digest for source in loaded.values()):
        members = [key for key in loaded if loaded[key].digest == digest]
        rows = dict.fromkeys(row for row, _ in members)
        whole = len(members) == sum(row in rows for row, _ in runs)
        seeds = ", ".join(map(str, sorted({seed for _, seed in members})))
        found[", ".join(rows) + ("" if whole else f" (seed {seeds})")] = loaded[members[0]]
    return found


def _config(cfg: DictConfig) -> AnalysisConfig:
    return typed(AnalysisConfig, setting(cfg, "analysis"), "analysis")


def of_found(cfg: DictConfig, runs: Sequence[Run]) -> ComparisonArtifact:
    """Return the comparison of runs that are there.

    Args:
        cfg: says `rows`, `columns`, `baseline` and `analysis`; kept beside the result.
        runs: as of `find_runs`.
    """
    rows, columns, baseline = _texts(cfg, "rows") or ["transfer"], _text(cfg, "columns"), _text(cfg, "baseline")
    cells = cells_by_axes(runs, rows, columns)
    first = baseline or "scratch"
    in_order = sorted(runs, key=lambda run: (cells[run.id].row != first, cells[run.id].order, run.seed))
    parents = {}
    for run in in_order:
        folders = [] if run.folder is None else [run.folder, *run.evaluations]
        parents |= {f"{folder.parent.name} {run.id} {folder.name}": Artifact.at(folder) for folder in folders}
    curves = {run.id: run.curve.to_csv(index=False) for run in runs if run.folder is None}
    of_wandb = {id: hashlib.sha256(curve.encode()).hexdigest() for id, curve in curves.items()}
    notes = runs.notes if isinstance(runs, Runs) else []
    ordered = {run.id: cells[run.id] for run in in_order}
    return _artifact(cfg, lambda: in_order, ordered, baseline, notes, parents, of_wandb)


def _texts(cfg: DictConfig, key: str) -> list[str]:
    """Return a text, or a list of them, as a list."""
    value = setting(cfg, key) or []
    listed = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str) for each in listed):
        raise InputError(f"{key} is {short(value)}; it must be a text, or a list of them")
    return listed


def _text(cfg: DictConfig, key: str) -> str | None:
    """Return a text, as which a number counts too."""
    value = setting(cfg, key)
    if isinstance(value, list | dict):
        raise InputError(f"{key} is {value}; it must be a single text, or null")
    return None if value is None else short(value)


def _of_planned(cfg: DictConfig, runs: PlannedRuns, notes: Sequence[str] = ()) -> ComparisonArtifact:
    """Return the comparison of runs of the section `comparison`."""
    section = comparison_config(cfg)
    whole = float(setting(cfg, FRACTION))
    of_row = {
        name: Cell(condition.row, condition.column, whole if condition.fraction is None else condition.fraction)
        for name, condition in conditions_of(cfg, section).items()
    }
    cells = {f"training-{run.parents['training'].digest}": of_row[row] for (row, _), run in runs.items()}
    parents = {f"pretraining {name}": source for name, source in sources_of(runs).items()}
    parents |= {f"training {row} seed {seed}": run.parents["training"] for (row, seed), run in runs.items()}
    parents |= {f"evaluation {row} seed {seed}": run for (row, seed), run in runs.items()}

    def load() -> list[Run]:
        trainings = {run.parents["training"].path: run.path for run in runs.values()}
        return [with_evaluations(load_run(training), [evaluated]) for training, evaluated in trainings.items()]

    def without(lost: Mapping[Path, str]) -> ComparisonArtifact:
        """The comparison of the other runs; where nothing can be said without those, an error."""
        rest = {key: run for key, run in runs.items() if run.path not in lost}
        said = {f"{row} seed {seed}": lost[run.path] for (row, seed), run in runs.items() if run.path in lost}
        if not rest:
            raise InputError(f"none of its {len(runs)} runs could be made; the first: {next(iter(said.values()))}")
        some = _of_planned(cfg, rest, [*notes, *(f"{name} failed: {reason}" for name, reason in said.items())])
        return replace(some, values=some.values | {"without": sorted(said)})

    return replace(_artifact(cfg, load, cells, section.baseline, notes, parents, {}), without=without)


def _artifact(
    cfg: DictConfig,
    load: Callable[[], Sequence[Run]],
    cells: Mapping[str, Cell],
    baseline: str | None,
    notes: Sequence[str],
    parents: dict[str, Artifact],
    of_wandb: Mapping[str, str],
) -> ComparisonArtifact:
    """Return the artifact; of a run that only W&B tells of, the digest of its curve (`of_wandb`) stands for it."""
    config = _config(cfg)
    named = baseline_of(baseline, list(cells.values())).name
    values = {"analysis": asdict(config), "baseline": named, "wandb": dict(of_wandb)}
    values["cells"] = {run: f"{cell.name} · {cell.fraction:g}" for run, cell in cells.items()}
    analysis = cache(lambda: analyse(load(), cells, baseline, config, notes))

    def make(folder: Path) -> None:
        compared = analysis()
        compared.table.to_csv(folder / files.RUNS, index=False)
        compared.curves().to_csv(folder / files.CURVES, index=False)
        write_tables(compared, folder)
        write_report(folder / files.REPORT, cfg, compared)

    about = {"config": cfg, "here": True, "analysis": analysis}
    return ComparisonArtifact("comparison", "comparison", values, make, outputs_folder(cfg), parents, **about)
