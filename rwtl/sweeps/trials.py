"""The trials of a search of hyper-parameters, which Optuna proposes and stores."""

import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from hydra.errors import HydraException
from hydra.utils import instantiate
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine.url import make_url
from sqlalchemy.exc import SQLAlchemyError

from rwtl.errors import InputError

_ABOUT = "about"  # what is searched, kept with the study
_KILLED = "killed"  # numbers of the trials that ended with their process, and whose points are tried again


class Trials:
    """The trials of a study. One process at a time may change them.

    Args:
        name: the study's.
        storage: Optuna's URL of a database; None: in memory.
        direction: `minimize` or `maximize`.
        sampler: configuration of one of Optuna's samplers: `_target_` and its arguments.
        space: what is searched.
        about: what else determines a trial's result; a study is resumed only where it is the same.

    Raises:
        InputError: The storage cannot be used, the sampler cannot be made, or the study is of something else.
    """

    def __init__(
        self,
        name: str,
        storage: str | None,
        direction: str,
        sampler: Mapping[str, Any],
        space: Mapping[str, BaseDistribution],
        about: Mapping[str, str],
    ):
        try:
            _sampler(sampler, place=0)
        except (HydraException, TypeError, ValueError) as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise InputError(f"hydra.sweeper.sampler is {sampler}, which cannot be used: {reason}") from error
        self._sampler = sampler
        self._space = dict(space)
        self._study = _study(name, storage, direction)
        about = {"direction": direction, **about, **{key: repr(each) for key, each in self._space.items()}}
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
        return self._in(TrialState.COMPLETE, TrialState.FAIL)

    def failed(self) -> list[FrozenTrial]:
        """Return the trials that ended without a value."""
        return self._in(TrialState.FAIL)

    def best(self) -> FrozenTrial | None:
        """Return the best trial; None where none has succeeded."""
        return self._study.best_trial if self._in(TrialState.COMPLETE) else None

    def take_up(self, value_of: Callable[[dict[str, Any]], float | None]) -> None:
        """End the trials that a killed search left: those whose value is known by now are told, the others' points
        are proposed again. To be called while no other process runs the search.

        Args:
            value_of: returns what a point came to, None where that is not known yet.
        """
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            whole = trial.params.keys() == self._space.keys()
            value = value_of(trial.params) if whole else None
            if value is not None:
                self.tell(trial.number, value)
                continue
            self._study.set_user_attr(_KILLED, [*self._study.user_attrs.get(_KILLED, []), trial.number])
            self._study.tell(trial.number, state=TrialState.FAIL)
            if whole:
                self._study.enqueue_trial(trial.params)

    def ask(self, count: int) -> dict[int, dict[str, Any]]:
        """Return new points, by number of the trial.

        Each is drawn with a seed of its own, so that a search that was stopped proposes the points that it would have
        proposed, and none twice for its random numbers having begun anew.
        """
        points = {}
        for _ in range(count):
            place = len(self._in(TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING))
            self._study.sampler = _sampler(self._sampler, place)
            trial = self._study.ask(self._space)
            points[trial.number] = trial.params
        return points

    def tell(self, number: int, value: float | None) -> None:
        """End a trial with its value; with None, NaN or an infinite one it failed."""
        if value is not None and math.isfinite(value):
            self._study.tell(number, value)
        else:
            self._study.tell(number, state=TrialState.FAIL)

    def _in(self, *states: TrialState) -> list[FrozenTrial]:
        killed = self._study.user_attrs.get(_KILLED, [])
        return [each for each in self._study.get_trials(deepcopy=False, states=states) if each.number not in killed]


def _study(name: str, storage: str | None, direction: str) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        url = make_url(storage) if storage else None
        if url and url.get_backend_name() == "sqlite" and url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        return optuna.create_study(study_name=name, storage=storage, direction=direction, load_if_exists=True)
    except (OSError, ImportError, SQLAlchemyError, OptunaError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"hydra.sweeper.storage is {storage}, which cannot be used: {reason}") from error
    except RuntimeError as error:  # Optuna's word for tables of another version of Optuna
        raise InputError(
            f"hydra.sweeper.storage is {storage}, whose tables are those of another version of Optuna; begin another "
            f"search with hydra.sweeper.study_name=... or hydra.sweeper.storage=... ({error})"
        ) from error


def _sampler(sampler: Mapping[str, Any], place: int) -> optuna.samplers.BaseSampler:
    """The sampler for a place in the order of the trials."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if sampler.get("seed") is None:
            return instantiate(sampler)
        drawn = np.random.SeedSequence([sampler["seed"], place]).generate_state(1)[0]
        return instantiate(sampler, seed=int(drawn))
