"""The runs of a comparison, made where they are missing, several side by side."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rwtl.compare.conditions import SOURCE, RunConfigs, needs_pretraining
from rwtl.config import setting
from rwtl.errors import InputError
from rwtl.pipeline.artifact import Artifact, planning
from rwtl.pipeline.pretraining import against_baselines, pretraining
from rwtl.pipeline.recording import recordings_of
from rwtl.processes import run_side_by_side


@dataclass(frozen=True)
class Run:
    """One finished training with its evaluation.

    Args:
        row: the condition's name in the comparison.
        seed: of the training.
        training, evaluation: its artifacts.
    """

    row: str
    seed: int
    training: Artifact
    evaluation: Artifact


@dataclass(frozen=True)
class Source:
    """A finished pre-training that rows load.

    Args:
        name: the rows that share it, and their seeds where they do not share it over seeds.
        pretraining: its artifact.
        recordings: the artifacts that it is made from; none for scenes.
    """

    name: str
    pretraining: Artifact
    recordings: tuple[Artifact, ...]


def with_threads(cfg: DictConfig, threads: int, jobs: int) -> DictConfig:
    """Return the configuration of a job that shares so many threads with others."""
    return OmegaConf.merge(cfg, {"trainer": {"threads": max(1, threads // max(1, jobs))}})


def make_side_by_side(
    what: str, function: Callable, tasks: dict[str, tuple], jobs: int
) -> tuple[dict[str, Any], dict[str, Exception]]:
    """Return results and failures by the tasks' names, in their order; a failure does not stop the others.

    What is made already is looked up here, for a process of its own takes seconds to start.

    Args:
        what: the noun by which a task is announced when it is finished.
        function: is called with the arguments of each task.
        tasks: arguments by name.
        jobs: so many at a time.
    """
    made = [name for name, arguments in tasks.items() if _is_made(function, arguments)]
    others = {name: arguments for name, arguments in tasks.items() if name not in made}
    outcomes = chain(
        ((name, function(*tasks[name])) for name in made), run_side_by_side(function, others, jobs) if others else ()
    )
    results, failures = {}, {}
    for count, (name, result) in enumerate(outcomes, start=1):
        (failures if isinstance(result, Exception) else results)[name] = result
        outcome = f"failed: {result}" if isinstance(result, Exception) else "finished"
        print(f"  {what} {count} of {len(tasks)}, {name}, {outcome}", flush=True)
    return {name: results[name] for name in tasks if name in results}, failures


def _is_made(function: Callable, arguments: tuple) -> bool:
    try:
        with planning() as steps:
            function(*arguments)
    except InputError:
        return False
    return all(step.state == "complete" for step in steps)


def raise_failures(failures: dict[str, Exception]) -> None:
    """Raise what went wrong, if anything: all bad input in one error, but first what nobody expected."""
    unexpected = [error for error in failures.values() if not isinstance(error, InputError)]
    if unexpected:
        raise unexpected[0]
    if failures:
        listed = "; ".join(f"{name}: {error}" for name, error in failures.items())
        raise InputError(f"{len(failures)} failed, the others are kept. {listed}")


def groups_of(configs: RunConfigs) -> dict[str, list[tuple[str, int]]]:
    """Return, by name, the rows and seeds of each distinct pre-training that the runs load.

    The name lists the rows, with their seeds where those do not share the pre-training.
    """
    groups: list[tuple[dict, list[tuple[str, int]]]] = []
    for run, cfg in configs.items():
        if not needs_pretraining(cfg):
            continue
        made_from = {section: setting(cfg, section) for section in (*SOURCE, "model")}
        same = [members for values, members in groups if values == made_from]
        if same:
            same[0].append(run)
        else:
            groups.append((made_from, [run]))
    return {_name(members, configs): members for _, members in groups}


def _name(members: list[tuple[str, int]], configs: RunConfigs) -> str:
    rows = {row: [seed for other, seed in members if other == row] for row, _ in members}
    whole = all(len(seeds) == sum(row == other for other, _ in configs) for row, seeds in rows.items())
    seeds = sorted({seed for _, seed in members})
    return ", ".join(rows) + ("" if whole else f" (seed {', '.join(map(str, seeds))})")


def make_sources(
    configs: RunConfigs, jobs: int, threads: int
) -> tuple[list[Source], dict[str, Exception], set[tuple[str, int]]]:
    """Make what is missing; return the sources, failures by name, and the runs whose source failed.

    Recordings are made one after the other, each on all threads; then pre-trainings side by side, which share them.
    """
    groups = groups_of(configs)
    waves: dict[str, tuple[Artifact, ...]] = {}
    failures: dict[str, Exception] = {}
    for name, members in groups.items():
        try:
            waves[name] = _recordings(configs[members[0]])
        except InputError as error:
            print(f"  recording for {name}, failed: {error}", flush=True)
            failures[name] = error
    first = {name: groups[name][0] for name in waves}
    tasks = {name: (with_threads(configs[run], threads, min(jobs, len(waves))), run[0]) for name, run in first.items()}
    made, failed = make_side_by_side("pre-training", pretraining, tasks, jobs)
    failures |= failed
    sources = [Source(name, artifact, waves[name]) for name, artifact in made.items()]
    for source in sources:
        print(f"  {source.name}: {against_baselines(source.pretraining)}", flush=True)
    lost = {run for name in failures for run in groups[name]}
    return sources, {f"pre-training of {name}": error for name, error in failures.items()}, lost


def _recordings(cfg: DictConfig) -> tuple[Artifact, ...]:
    if setting(cfg, "clips")["kind"] != "waves":
        return ()
    return tuple(recordings_of(cfg))
