"""Searches of hyper-parameters: sweeps whose jobs Optuna proposes, batch by batch, made by any executor."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Annotated, Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution

from rwtl import files
from rwtl.config import flat
from rwtl.errors import InputError
from rwtl.overrides import pasted
from rwtl.pipeline.artifact import Artifact, no_objective
from rwtl.pipeline.claim import alone
from rwtl.progress import say
from rwtl.sections import Count, OneOf, Share, section, typed
from rwtl.sweeps.jobs import Job, planned, print_jobs, read_jobs, sweep_folder, write_sweep
from rwtl.sweeps.scheduler import Outcome, Outcomes, build_all
from rwtl.sweeps.space import override_of, search_space
from rwtl.sweeps.sweep import CONFIG, configured, executor_of, executor_section, given, make, name_sweep, readable
from rwtl.sweeps.trials import Trials
from rwtl.sweeps.view import View

RESULTS = "optimization_results.yaml"  # as Hydra's own sweepers name and write it


@section("hydra.sweeper")
class SearchConfig:
    """A search with Optuna.

    Args:
        study_name: of the search.
        storage: Optuna's URL of a database; None: in memory, and lost at the end.
        direction: `minimize` or `maximize`.
        n_trials: trials in all; what is there already counts.
        n_jobs: trials side by side; None for as many as executor=processes has, and one elsewhere.
        max_failure_rate: the search stops when a larger part of n_trials has failed.
        sampler: one of Optuna's.
        params: the search space, in Hydra's words.
    """

    study_name: str
    storage: str | None
    direction: Annotated[str, OneOf(("minimize", "maximize"))]
    n_trials: Count
    n_jobs: Count | None
    max_failure_rate: Share
    sampler: dict[str, Any]
    params: dict[str, Any]


@readable()
def run_search(config: DictConfig, loader: ConfigLoaderImpl, program: Any) -> None:
    """Run a search until it has `n_trials` trials in all, and print its table and the best.

    Another process that runs the same search is waited for, and its trials count.

    Args:
        config: of the multirun.
        loader: composes the configurations of the trials.
        program: `program.main` plans the artifact of a configuration, whose `objective` is minimised.

    Raises HydraException where a trial's configuration cannot be composed. The process ends with code 1 where a setting
    is wrong, the study is of something else, or too many trials failed, and after Ctrl-C; the same line resumes it.
    """
    if config.hydra.sweeper.study_name is None:
        raise InputError("hydra.sweeper.study_name is not set; give the search a name: hydra.sweeper.study_name=...")
    name_sweep(config, f"{config.hydra.job.name}-{config.hydra.sweeper.study_name}")
    if program.carry_out is None:
        raise InputError(
            "this program makes no artifact that a search could judge; search with pretrain, train or evaluate"
        )
    if program.carry_out is not make:
        raise InputError(
            "a search proposes its points as it goes: what it will make is not known; leave hparams_search out"
        )
    values = {key: value for key, value in config.hydra.sweeper.items() if not key.startswith("_")}
    search = typed(SearchConfig, OmegaConf.to_container(OmegaConf.create(values), resolve=True), "hydra.sweeper")
    if str(search.sampler.get("_target_")).endswith("GridSampler"):
        raise InputError("hydra/sweeper/sampler is grid; a sweep tries all combinations: key=1,2 in place of a search")
    parser = OverridesParser.create(config_loader=loader)
    space, fixed = search_space(search.params, parser.parse_overrides(given(config)), parser)
    fixed = [*(each for each in fixed if each.partition("=")[0] != "sweep"), f"sweep={config.sweep}"]

    def job_of(number: int, point: Mapping[str, Any]) -> Job:
        overrides = [*fixed, *(override_of(key, value) for key, value in point.items())]
        return planned(program.main, number, overrides, configured(loader.load_sweep_config(config, overrides), number))

    about = _about([job_of(0, point) for point in _forms(space, loader)])
    values, name = executor_section(config)
    folder, allowed = sweep_folder(config), search.max_failure_rate * search.n_trials
    side_by_side = search.n_jobs or values.get("jobs", 1)
    if side_by_side > 1 and values["kind"] == "inline":
        raise InputError(
            f"hydra.sweeper.n_jobs is {side_by_side}, but executor=inline makes one at a time; add executor=processes"
        )
    made_by = executor_of(values, name, config.hydra.job.name)
    with alone(folder, f"search {search.study_name}") as require_ours, closing(made_by) as executor:
        trials = Trials(search.study_name, search.storage, search.direction, search.sampler, space, about)
        trials.take_up(lambda point: _objective(job_of(0, point), Outcomes()))
        files.write_atomically(folder / CONFIG, OmegaConf.to_yaml(config))
        jobs, outcomes = {job.number: job for job in read_jobs(folder)}, Outcomes()
        while len(trials.all()) < search.n_trials and len(trials.failed()) <= allowed:
            points = trials.ask(min(side_by_side, search.n_trials - len(trials.all())))
            batch = {number: job_of(number, point) for number, point in points.items()}
            jobs |= batch
            write_sweep(folder, config.hydra.job.name, list(jobs.values()), ended=False)
            roots = [job.artifact for job in batch.values() if job.artifact is not None]
            made = build_all(roots, executor, View(f"search {search.study_name}"))
            outcomes.update(made)
            if made.interrupt is not None:
                outcomes.interrupt = made.interrupt
                break
            require_ours()
            for number, job in batch.items():
                trials.tell(number, _objective(job, outcomes))
            so_far = f"; best so far {best.value:.4g}, trial {best.number}" if (best := trials.best()) else ""
            say(f"search {search.study_name}: {len(trials.all())} of {search.n_trials} trials{so_far}")
        require_ours()
        write_sweep(folder, config.hydra.job.name, list(jobs.values()), ended=True)
    _show(config.sweep, trials, jobs, outcomes)
    if outcomes.interrupt is not None:
        raise outcomes.interrupt
    if best := trials.best():
        results = {"name": "optuna", "best_params": best.params, "best_value": best.value}
        OmegaConf.save(OmegaConf.create(results), folder / RESULTS)
        point = pasted(override_of(key, value) for key, value in best.params.items())
        print(f"best: trial {best.number}, {best.value:.4g}: {point}\nresults: {folder / RESULTS}", flush=True)
    if len(trials.failed()) > allowed:
        raise InputError(
            f"{len(trials.failed())} of {search.n_trials} trials failed, more than hydra.sweeper.max_failure_rate="
            f"{search.max_failure_rate:g} allows"
        )


def _forms(space: Mapping[str, BaseDistribution], loader: ConfigLoaderImpl) -> Iterator[dict[str, Any]]:
    """Points that show whether all compose: one, and that with each choice of a group."""
    choices = {key: each.choices for key, each in space.items() if isinstance(each, CategoricalDistribution)}
    point = {key: choices[key][0] if key in choices else each.low for key, each in space.items()}
    yield point
    for key in choices:
        if loader.repository.group_exists(key.lstrip("+").partition("@")[0]):
            yield from (point | {key: choice} for choice in choices[key][1:])


def _about(forms: Sequence[Job]) -> dict[str, str]:
    """What a trial's result depends on, apart from what is searched: the values that count in the digests of a point.

    So a search is resumed under other threads, loggers or intervals of checkpoints, and refused for other data.

    Raises InputError where no point of the space can be planned, or what it makes has no number to minimise.
    """
    job = next((each for each in forms if each.artifact is not None), None)
    if job is None:
        raise InputError(f"the search can make none of its trials: {forms[0].problem}")
    if type(job.artifact).objective is Artifact.objective:
        raise no_objective(job.artifact.kind)
    about = {}
    for number, artifact in enumerate(job.artifact.ancestors()):
        place = artifact.kind if artifact is job.artifact else f"{artifact.kind} {number + 1}"
        about |= {f"{place}: {key}": json.dumps(value) for key, value in flat(artifact.values)}
    return about


def _objective(job: Job, outcomes: Outcomes) -> float | None:
    """What a trial came to; None where its artifact is not there, or says why it has no number."""
    if job.artifact is None:
        return None
    try:
        return job.artifact.objective if job.artifact.state() == "complete" else None
    except InputError as error:
        outcomes[job.artifact.path] = Outcome(job.artifact, "failed", str(error))
        return None


def _show(name: str, trials: Trials, jobs: Mapping[int, Job], outcomes: Outcomes) -> None:
    """Print the table of all trials that count, those of earlier processes included."""
    shown = []
    for trial in trials.all():
        short = {key: float(f"{value:.3g}") for key, value in trial.params.items() if isinstance(value, float)}
        point = [override_of(key, value) for key, value in sorted((trial.params | short).items())]
        shown.append(replace(jobs.get(trial.number, Job(trial.number, [])), overrides=point))
    print_jobs(name, shown, outcomes, {trial.number: trial.value for trial in trials.all() if trial.value is not None})
