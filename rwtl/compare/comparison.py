"""The comparison of runs over seeds: of those of one configuration, made where they are missing, or of any that are
there; then the report.
"""

import hashlib
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from rwtl.compare.analysis import Comparison, analyse, cells_by_axes
from rwtl.compare.conditions import FRACTION, Condition, RunConfigs, comparison_config, conditions_of, run_configs
from rwtl.compare.make import Run, make_side_by_side, make_sources, raise_failures, with_threads
from rwtl.compare.measures import AnalysisConfig, Cell
from rwtl.compare.report import write_report
from rwtl.compare.runs import find_runs, load_run, with_evaluations
from rwtl.compare.tables import print_comparison, write_tables
from rwtl.config import outputs_folder, setting, typed
from rwtl.errors import InputError
from rwtl.pipeline.artifact import Artifact, build
from rwtl.pipeline.plans import EstimationPlan, TrainingPlan
from rwtl.pipeline.stages import evaluation, training


def comparison(cfg: DictConfig) -> Artifact:
    """Compare, and write what is found; the artifact holds `report.html`, `comparison.csv`, `.md` and `.tex`,
    `runs.csv` (the tidy table) and `curves.csv`.

    Without `runs` those of the section `comparison` are compared, and made first where they are missing; a
    pre-training or a run that fails does not stop the others, which are compared, and is named in the InputError at the
    end.
    """
    config = typed(AnalysisConfig, setting(cfg, "analysis"), "analysis")
    failures: dict[str, Exception] = {}
    if cfg.runs is None:
        for key in ("rows", "columns", "baseline"):
            if cfg[key] is not None:
                raise InputError(
                    f"{key} is {cfg[key]}, which tells apart runs that are read; give runs=..., or set comparison.{key}"
                )
        compared, parents, failures = _made(cfg, config)
    else:
        compared, parents = _read(cfg, config)
    values = {"analysis": asdict(config), "baseline": compared.baseline.name}
    # Of a run that only W&B tells of, its curve stands for it.
    values["wandb"] = {id: _digest(run.curve) for id, run in compared.runs.items() if run.folder is None}
    values["cells"] = {id: f"{cell.name} · {cell.fraction:g}" for id, cell in compared.cells.items()}

    def make(folder: Path) -> None:
        compared.table.to_csv(folder / "runs.csv", index=False)
        compared.curves().to_csv(folder / "curves.csv", index=False)
        write_tables(compared, folder)
        write_report(folder / "report.html", cfg, compared)

    made = build(outputs_folder(cfg), "comparison", "comparison", values, make, parents, config=cfg)
    print_comparison(compared)
    if failures:
        print(f"what there is:\n{where(made)}", flush=True)
    raise_failures(failures)
    return made


def where(made: Artifact) -> str:
    """Return where a comparison's table and report are."""
    return f"table:  {made.path / 'comparison.csv'}\nreport: {made.path / 'report.html'}"


def _digest(curve: pd.DataFrame) -> str:
    return hashlib.sha256(curve.to_csv(index=False).encode()).hexdigest()


def _read(cfg: DictConfig, config: AnalysisConfig) -> tuple[Comparison, dict[str, Artifact]]:
    sources = setting(cfg, "runs")
    runs, notes = find_runs([sources] if isinstance(sources, str) else sources)
    rows = setting(cfg, "rows") or ["transfer"]
    cells = cells_by_axes(runs, [rows] if isinstance(rows, str) else rows, cfg.columns)
    first = cfg.baseline or "scratch"
    in_order = sorted(runs, key=lambda run: (cells[run.id].row != first, cells[run.id].order, run.seed))
    compared = analyse(in_order, cells, cfg.baseline, config, notes)
    parents = {}
    for run in in_order:
        folders = [] if run.folder is None else [run.folder, *run.evaluations]
        parents |= {f"{folder.parent.name} {run.id} {folder.name}": _artifact(folder) for folder in folders}
    return compared, parents


def _artifact(folder: Path) -> Artifact:
    return Artifact(folder, folder.parent.name, folder.name, reused=True)


def _made(cfg: DictConfig, config: AnalysisConfig) -> tuple[Comparison, dict[str, Artifact], dict[str, Exception]]:
    """Make what is missing; return the comparison of what succeeded, its parents, and what failed."""
    comparison = comparison_config(cfg)
    configs = run_configs(cfg, comparison)
    check(configs)
    conditions = conditions_of(cfg, comparison)
    threads = setting(cfg, "trainer")["threads"]
    sources, failures, lost = make_sources(configs, comparison.jobs, threads)
    runs, failed = _run_all({run: of for run, of in configs.items() if run not in lost}, comparison.jobs, threads)
    failures |= failed
    notes = [f"{name} failed: {error}" for name, error in failures.items()]
    whole = float(setting(cfg, FRACTION))
    loaded = {run.training.path: with_evaluations(load_run(run.training.path), [run.evaluation.path]) for run in runs}
    cells = {loaded[run.training.path].id: _cell(conditions[run.row], whole) for run in runs}
    parents = {f"pretraining {source.name}": source.pretraining for source in sources}
    parents |= {f"training {run.row} seed {run.seed}": run.training for run in runs}
    parents |= {f"evaluation {run.row} seed {run.seed}": run.evaluation for run in runs}
    try:
        compared = analyse(list(loaded.values()), cells, comparison.baseline, config, notes)
    except InputError:
        raise_failures(failures)  # of which it is the consequence: the baseline's runs, or all, are missing
        raise
    return compared, parents, failures


def _cell(condition: Condition, whole: float) -> Cell:
    return Cell(condition.row, condition.column_name, whole if condition.fraction is None else condition.fraction)


def runs_of(cfg: DictConfig) -> None:
    """Train and evaluate every run of a comparison, one after the other; none where runs are read."""
    if cfg.runs is not None:
        return
    for run in run_configs(cfg, comparison_config(cfg)).values():
        evaluation(run)


def check(configs: RunConfigs) -> None:
    """Raise InputError where a run's configuration is bad, with the row: it ends here, not after what comes before."""
    for (row, _), cfg in configs.items():
        try:
            TrainingPlan.of(cfg)
            EstimationPlan.of(cfg, "evaluation")
        except InputError as error:
            raise InputError(f"row {row}: {error}") from error


def _run_all(configs: RunConfigs, jobs: int, threads: int) -> tuple[list[Run], dict[str, Exception]]:
    """Train and evaluate every row with every seed, several at a time."""
    tasks = {f"{row} seed {seed}": (with_threads(of, threads, jobs), row, seed) for (row, seed), of in configs.items()}
    runs, failures = make_side_by_side("run", _run, tasks, jobs)
    return list(runs.values()), failures


def _run(cfg: DictConfig, row: str, seed: int) -> Run:
    OmegaConf.update(cfg, "transfer.name", row)  # names the run in the log, and plays no part in its result
    trained = training(cfg)
    return Run(row, seed, trained, evaluation(cfg, trained))
