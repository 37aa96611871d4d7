"""The comparison of rows over seeds: sources first, then trainings and evaluations side by side, then the report."""

from omegaconf import DictConfig, OmegaConf

from rwtl.errors import InputError
from rwtl.study import recordings, stages
from rwtl.study.artifact import Artifact, build
from rwtl.study.gather import compare, gather_curves, gather_errors, gather_skill
from rwtl.study.plans import EstimationPlan, TrainingPlan
from rwtl.study.report import write_report
from rwtl.study.rows import RunConfigs, comparison_config, difference, run_configs
from rwtl.study.runs import Run, make_side_by_side, raise_failures, with_threads
from rwtl.study.sources import make_sources
from rwtl.study.tables import print_comparison


def comparison(cfg: DictConfig) -> Artifact:
    """Run what is missing and compare; the artifact holds `report.html`, `comparison.csv`, `runs.csv`, `curves.csv`
    and, where a row's source predicts frames, `skill.csv`.

    A pre-training or a run that fails does not stop the others; it is named in the InputError at the end.
    """
    config = comparison_config(cfg)
    configs = run_configs(cfg, config)
    check(configs)
    threads = recordings.setting(cfg, "trainer")["threads"]
    sources, failures, lost = make_sources(configs, config.jobs, threads)
    runs, failed = _run_all({run: of for run, of in configs.items() if run not in lost}, config.jobs, threads)
    raise_failures(failures | failed)

    differences = {row: difference(cfg, configs[row, config.seeds[0]], row) for row in config.rows}
    values = {"rows": config.rows, "baseline": config.baseline, "seeds": config.seeds, "differences": differences}
    parents = {f"pretraining {source.name}": source.pretraining for source in sources}
    parents |= {f"training {run.row} seed {run.seed}": run.training for run in runs}
    parents |= {f"evaluation {run.row} seed {run.seed}": run.evaluation for run in runs}
    curves, errors, skill = gather_curves(runs), gather_errors(runs), gather_skill(sources)
    table = compare(curves, errors, config.baseline, differences)

    def make(folder) -> None:
        table.to_csv(folder / "comparison.csv", index=False)
        errors.to_csv(folder / "runs.csv", index=False)
        curves.to_csv(folder / "curves.csv", index=False)
        if skill is not None:
            skill.to_csv(folder / "skill.csv", index=False)
        write_report(folder / "report.html", cfg, sources, runs, curves, errors, table)

    made = build(recordings.outputs_folder(cfg), "comparison", "comparison", values, make, parents, config=cfg)
    print_comparison(table)
    return made


def runs_of(cfg: DictConfig) -> None:
    """Train and evaluate every run of a comparison, one after the other."""
    for run in run_configs(cfg, comparison_config(cfg)).values():
        stages.evaluation(run)


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
    trained = stages.training(cfg)
    return Run(row, seed, trained, stages.evaluation(cfg, trained))
