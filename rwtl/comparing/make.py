"""The runs of a comparison, planned, and made where they are missing, several side by side."""

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rwtl.comparing.conditions import RunConfigs
from rwtl.errors import InputError
from rwtl.pipeline.artifact import Artifact, build, hush
from rwtl.pipeline.evaluation import evaluation
from rwtl.pipeline.pretraining import pretraining
from rwtl.processes import run_side_by_side

RunKey = tuple[str, int]  # name of the condition, and seed
PlannedRuns = dict[RunKey, Artifact]  # the evaluation of each run: its training is a parent
Task = tuple[Callable[..., Artifact], tuple]  # a stage and its arguments, for another process
Failures = dict[str, Exception]  # by the name of what failed


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


def sources_of(runs: PlannedRuns) -> dict[str, list[RunKey]]:
    """Return the runs that load each pre-training, by a name that lists their rows, with seeds where those differ."""
    groups: dict[str, list[RunKey]] = {}
    for key, run in runs.items():
        source = pretraining_of(run)
        if source is not None:
            groups.setdefault(source.digest, []).append(key)
    return {_name(members, runs): members for members in groups.values()}


def pretraining_of(run: Artifact) -> Artifact | None:
    """Return the pre-training that an evaluated run loads, if any."""
    return run.parents["training"].parents.get("pretraining")


def _name(members: list[RunKey], runs: PlannedRuns) -> str:
    rows = {row: [seed for other, seed in members if other == row] for row, _ in members}
    whole = all(len(seeds) == sum(row == other for other, _ in runs) for row, seeds in rows.items())
    seeds = sorted({seed for _, seed in members})
    return ", ".join(rows) + ("" if whole else f" (seed {', '.join(map(str, seeds))})")


def make_runs(runs: PlannedRuns, jobs: int, threads: int) -> tuple[PlannedRuns, Failures]:
    """Make what is missing; return the runs that are complete, and what failed.

    Recordings are made one after the other, each on all threads; then pre-trainings side by side, which share them;
    then trainings with their evaluations. A failure stops nothing that does not depend on it.
    """
    groups, failures = sources_of(runs), {}
    sources = {name: pretraining_of(runs[members[0]]) for name, members in groups.items()}
    for name, source in list(sources.items()):
        try:
            for recording in source.missing()[:-1]:
                build(recording)
        except InputError as error:
            print(f"  recording for {name}, failed: {error}", flush=True)
            failures[name] = error
            del sources[name]
    tasks: dict[str, Task] = {}
    for name in sources:
        row, seed = groups[name][0]
        cfg = with_threads(runs[row, seed].config, threads, min(jobs, len(sources)))
        tasks[name] = (pretraining, (cfg, row))
    failures |= build_side_by_side("pre-training", sources, tasks, jobs)
    for name, source in sources.items():
        if name not in failures:
            print(f"  {name}: {source.verdict}", flush=True)
    lost = {key for name in failures for key in groups[name]}
    failures = {f"pre-training of {name}": error for name, error in failures.items()}

    rest = {f"{row} seed {seed}": run for (row, seed), run in runs.items() if (row, seed) not in lost}
    tasks = {name: (evaluation, (with_threads(run.config, threads, jobs),)) for name, run in rest.items()}
    failures |= build_side_by_side("run", rest, tasks, jobs)
    return {
        key: run for key, run in runs.items() if key not in lost and "{} seed {}".format(*key) not in failures
    }, failures


def with_threads(cfg: DictConfig, threads: int, jobs: int) -> DictConfig:
    """Return the configuration of one of `jobs` jobs that share `threads` threads."""
    return OmegaConf.merge(cfg, {"trainer": {"threads": max(1, threads // max(1, jobs))}})


def build_side_by_side(what: str, artifacts: dict[str, Artifact], tasks: dict[str, Task], jobs: int) -> Failures:
    """Build artifacts, several at a time in processes of their own, and return the failures, which do not stop others.

    Those that are complete are reused here, for a process takes seconds to start.

    Args:
        what: the noun by which one is announced when it is finished.
        artifacts: as planned here, by name.
        tasks: what plans each in another process.
        jobs: at most this many at a time.
    """
    failures: Failures = {}
    made = 0

    def announce(name: str, error: Exception | None) -> None:
        nonlocal made
        made += 1
        if error is not None:
            failures[name] = error
        outcome = "finished" if error is None else f"failed: {error}"
        print(f"  {what} {made} of {len(artifacts)}, {name}, {outcome}", flush=True)

    complete = [name for name, artifact in artifacts.items() if artifact.state() == "complete"]
    for name in complete:
        try:
            build(artifacts[name])
            announce(name, None)
        except InputError as error:
            announce(name, error)
    others = {name: tasks[name] for name in artifacts if name not in complete}
    for name, result in run_side_by_side(_build, others, jobs) if others else ():
        hush(artifacts[name])  # that it is there was said by the process that made it
        announce(name, result if isinstance(result, Exception) else None)
    return failures


def _build(stage: Callable[..., Artifact], arguments: tuple[Any, ...]) -> None:
    build(stage(*arguments))


def raise_failures(failures: Failures) -> None:
    """Raise what went wrong, if anything: all bad input in one error, but first what nobody expected."""
    unexpected = [error for error in failures.values() if not isinstance(error, InputError)]
    if unexpected:
        raise unexpected[0]
    if failures:
        listed = "; ".join(f"{name}: {error}" for name, error in failures.items())
        raise InputError(f"{len(failures)} failed, the others are kept. {listed}")
