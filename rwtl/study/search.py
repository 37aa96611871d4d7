"""Searches of hyper-parameters: multiruns whose jobs Optuna proposes one after the other, from what came out before."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides
from omegaconf import OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution

from rwtl.errors import InputError
from rwtl.study.job_states import SUCCEEDED, JobState, job_states, print_table
from rwtl.study.jobs import read_records, remove_records, sweep_folder
from rwtl.study.launching import launch
from rwtl.study.sweep import CONFIG
from rwtl.study.sweep_claim import claimed
from rwtl.study.trials import Trials

RESULTS = "optimization_results.yaml"  # as hydra-optuna-sweeper names and writes it
_ELSEWHERE = ("paths", "logger", "sweep")  # sections that no result depends on


def run_search(sweeper: Any, arguments: Sequence[str]) -> None:
    """Run a search until it has `n_trials` trials in all, and print its table and the best.

    Args:
        sweeper: a SearchSweeper, set up.
        arguments: the overrides of the command line.

    Raises:
        InputError: A setting is wrong, the study is of something else or in use, or too many trials failed.
        HydraException: A trial's configuration cannot be composed.
    """
    _check(sweeper)
    config = sweeper.config
    space, fixed = _space(sweeper.params, arguments)
    shared = [*(f"{key}={value}" for key, value in fixed.items() if key != "sweep"), f"sweep={config.sweep}"]
    sweeper.validate_batch_is_legal([[*_overrides(point), *shared] for point in _forms(sweeper, space)])
    about = {key: str(value) for key, value in fixed.items() if key.split(".")[0] not in _ELSEWHERE}
    about |= {"app": config.hydra.job.name, "direction": sweeper.direction, "sweep": config.sweep}
    folder = sweep_folder(config)
    with claimed(folder, config.sweep):
        trials = Trials(sweeper.study_name, sweeper.storage, sweeper.direction, sweeper.sampler, space, about)
        OmegaConf.save(config, folder / CONFIG)
        trials.take_up(read_records(folder))
        if not trials.all():
            remove_records(folder)
        allowed = sweeper.max_failure_rate * sweeper.n_trials
        try:
            while len(trials.all()) < sweeper.n_trials and len(trials.failed()) <= allowed:
                points = trials.ask(min(sweeper.n_jobs, sweeper.n_trials - len(trials.all())))
                jobs = {number: [*_overrides(point), *shared] for number, point in points.items()}
                launch(sweeper.launcher, jobs, folder)
                records = read_records(folder)
                for number in jobs:
                    trials.tell(number, records.get(number))
        except KeyboardInterrupt:
            _show(config.sweep, trials, folder)
            raise
        _show(config.sweep, trials, folder)
    if len(trials.failed()) > allowed:
        raise InputError(
            f"{len(trials.failed())} of {sweeper.n_trials} trials failed, more than hydra.sweeper.max_failure_rate="
            f"{sweeper.max_failure_rate:g} allows"
        )


def _check(sweeper: Any) -> None:
    if sweeper.direction not in ("minimize", "maximize"):
        raise InputError(f"hydra.sweeper.direction is {sweeper.direction!r}; choose minimize or maximize")
    if sweeper.sampler.get("_target_") == "optuna.samplers.GridSampler":
        raise InputError("hydra/sweeper/sampler is grid; a sweep tries all combinations: key=1,2 in place of a search")
    if not 0 <= sweeper.max_failure_rate <= 1:
        raise InputError(f"hydra.sweeper.max_failure_rate is {sweeper.max_failure_rate}; it must be between 0 and 1")
    for key in ("n_trials", "n_jobs"):
        if not isinstance(getattr(sweeper, key), int) or getattr(sweeper, key) < 1:
            raise InputError(f"hydra.sweeper.{key} is {getattr(sweeper, key)!r}; it must be a positive number")


def _space(params: Mapping[str, Any], arguments: Sequence[str]) -> tuple[dict[str, BaseDistribution], dict[str, Any]]:
    """What is searched and what is fixed: the command line wins."""
    space, fixed = create_params_from_overrides([f"{key}={value}" for key, value in params.items()])
    given, given_fixed = create_params_from_overrides(list(arguments))
    space = {key: each for key, each in {**space, **given}.items() if key not in given_fixed}
    if not space:
        raise InputError("the search has nothing to search: set hydra.sweeper.params, or key=interval(0,1)")
    return space, {key: each for key, each in {**fixed, **given_fixed}.items() if key not in space}


def _overrides(point: Mapping[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in point.items()]


def _forms(sweeper: Any, space: Mapping[str, BaseDistribution]) -> Iterator[dict[str, Any]]:
    """Points that show whether all compose: one, and that with each choice of a group."""
    choices = {key: each.choices for key, each in space.items() if isinstance(each, CategoricalDistribution)}
    point = {key: choices[key][0] if key in choices else each.low for key, each in space.items()}
    yield point
    is_group = sweeper.hydra_context.config_loader.repository.group_exists
    for key in filter(is_group, choices):
        yield from (point | {key: choice} for choice in choices[key])


def _show(name: str, trials: Trials, folder: Path) -> None:
    jobs = {
        trial.number: [f"{key}={_short(trial.params[key])}" for key in sorted(trial.params)] for trial in trials.all()
    }
    states = job_states(jobs, read_records(folder), ended=True)
    print_table(name, [_judged(state) for state in states], values=True)
    best = trials.best()
    if best is not None:
        results = {"name": "optuna", "best_params": best.params, "best_value": best.value}
        OmegaConf.save(OmegaConf.create(results), folder / RESULTS)
        print(f"best: trial {best.number}, {best.value:.4g}: {' '.join(_overrides(best.params))}")
        print(f"results: {folder / RESULTS}", flush=True)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _judged(state: JobState) -> JobState:
    if state.state in SUCCEEDED and state.value is None:
        return replace(state, state="failed", reason="the experiment returned no number")
    return state
