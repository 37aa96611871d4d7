"""The trials of a search, in a storage that outlives it: which points were tried, and what they came to."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from hydra.utils import instantiate
from omegaconf import DictConfig
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine.url import make_url
from sqlalchemy.exc import SQLAlchemyError

from rwtl.errors import InputError
from rwtl.study.jobs import JobRecord

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
