"""Searches of hyper-parameters: multiruns whose jobs Optuna proposes, and the storage of their trials."""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from hydra.utils import instantiate
from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine.url import make_url
from sqlalchemy.exc import SQLAlchemyError

from rwtl.errors import InputError
from rwtl.sweeps.jobs import (
    SUCCEEDED,
    JobRecord,
    JobState,
    job_states,
    print_table,
    read_records,
    remove_records,
    sweep_folder,
)
from rwtl.sweeps.sweep import CONFIG, claimed, launch

_ABOUT = "about"  # what is searched, kept with the study
_KILLED = "killed"  # marks a trial that ended with its process, and whose point is tried again


class Trials:
    """The trials of a study.

    Args:
        name: the study's.
        storage: Optuna's URL of a database; None: in memory.
        direction: `minimize` or `maximize`.
        sampler: configuration of one of Optuna's samplers.
        space: what is searched.
        about: what else determines a trial's result; a study is gone on with only where it is the same.

    Raises:
        InputError: The storage cannot be used, or the study is of something else.
    """

    def __init__(
        self,
        name: str,
        storage: str | None,
        direction: str,
        sampler: DictConfig,
        space: Mapping[str, BaseDistribution],
        about: dict[str, str],
    ):
        self._sampler = sampler
        self._space = dict(space)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            if storage and make_url(storage).database:
                Path(make_url(storage).database).parent.mkdir(parents=True, exist_ok=True)
            self._study = optuna.create_study(
                study_name=name, storage=storage, direction=direction, load_if_exists=True
            )
        except (OSError, SQLAlchemyError, OptunaError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"hydra.sweeper.storage is {storage}, which cannot be used: {reason}") from error
        about = about | {key: json.dumps(_described(distribution)) for key, distribution in self._space.items()}
        known = self._study.user_attrs.get(_ABOUT, about)
        for key in sorted(known.keys() | about.keys()):
            if known.get(key) != about.get(key):
                raise InputError(
                    f"study {name} was searched with {key}={known.get(key, 'not set')}, now it is "
                    f"{about.get(key, 'not set')}; give this search another name: hydra.sweeper.study_name=..."
                )
        self._study.set_user_attr(_ABOUT, about)

    def all(self) -> list[FrozenTrial]:
        """Return the trials that ended, failed or not; those that were killed do not count."""
        ended = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL))
        return [trial for trial in ended if _KILLED not in trial.user_attrs]

    def failed(self) -> list[FrozenTrial]:
        return [trial for trial in self.all() if trial.state == TrialState.FAIL]

    def best(self) -> FrozenTrial | None:
        """Return the best trial; None where none has succeeded."""
        return self._study.best_trial if len(self.all()) > len(self.failed()) else None

    def take_up(self, records: Mapping[int, JobRecord]) -> None:
        """End the trials that a killed search left: those that had finished are told, the others' points wait to be
        tried again. To be called while no other process runs the search."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            record = records.get(trial.number)
            if record is not None and record.value is not None:
                self.tell(trial.number, record)
                continue
            self._study._storage.set_trial_user_attr(trial._trial_id, _KILLED, True)
            self._study.tell(trial.number, state=TrialState.FAIL)
            if trial.params.keys() == self._space.keys():
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ExperimentalWarning)
                    self._study.enqueue_trial(trial.params)

    def ask(self, count: int) -> dict[int, dict[str, Any]]:
        """Return new points, by number of the trial.

        Each is drawn with a seed of its own, so that a search that was stopped proposes the points that it would have
        proposed, and none twice for its random numbers having begun anew.
        """
        points, ended = {}, len(self.all())
        for place in range(ended, ended + count):
            self._study.sampler = self._sampler_of(place)
            trial = self._study.ask(self._space)
            points[trial.number] = trial.params
        return points

    def _sampler_of(self, place: int) -> optuna.samplers.BaseSampler:
        if self._sampler.get("seed") is None:
            return instantiate(self._sampler)
        drawn = np.random.SeedSequence([self._sampler.seed, place]).generate_state(1)[0]
        return instantiate(self._sampler, seed=int(drawn))

    def tell(self, number: int, record: JobRecord | None) -> None:
        """End a trial with what its job recorded; one without a value failed."""
        if record is not None and record.value is not None:
            self._study.tell(number, record.value)
        else:
            self._study.tell(number, state=TrialState.FAIL)


def _described(distribution: BaseDistribution) -> dict[str, Any]:
    return {"distribution": type(distribution).__name__} | distribution._asdict()


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
