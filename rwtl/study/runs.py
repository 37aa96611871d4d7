"""What a comparison is made of, as its table and report see it, and how several parts are made side by side."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rwtl.errors import InputError
from rwtl.study.artifact import Artifact, planning
from rwtl.study.pool import run_side_by_side


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
