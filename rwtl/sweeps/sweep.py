"""A multirun: the jobs of a command line, made by the executor that the line, or Hydra's launcher, names."""

import hashlib
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import env_override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from rwtl import files
from rwtl.config import CONF, short
from rwtl.errors import InputError
from rwtl.overrides import pasted
from rwtl.pipeline.artifact import Artifact
from rwtl.pipeline.known import check_sections
from rwtl.plugins import load_plugins
from rwtl.processes import exit_code, reason_of, terminable
from rwtl.sections import chosen, typed
from rwtl.sweeps.executors import Executor, Inline, Processes, ProcessesConfig
from rwtl.sweeps.jobs import Job, Main, note_idle, planned, print_jobs, sweep_folder, write_sweep
from rwtl.sweeps.scheduler import Outcomes, build_all
from rwtl.sweeps.view import View, print_outcomes

CONFIG = "multirun.yaml"


@dataclass
class Work:
    """What a command line asks for.

    Args:
        app: the program's name.
        jobs: the artifacts that it makes; one, where it is no sweep.
        executor: returns what makes them.
        cfg: the configuration of the sweep; None where there is none.
    """

    app: str
    jobs: list[Job]
    executor: Callable[[], Executor]
    cfg: DictConfig | None = None


@contextmanager
def readable() -> Iterator[None]:
    """Bad input ends the process with one line and exit code 1, and SIGTERM is as Ctrl-C."""
    try:
        with terminable():
            yield
    except InputError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
    except KeyboardInterrupt as interrupt:
        said = f"interrupted ({reason_of(interrupt)}); what is finished is kept, and the same line goes on from there"
        print(said, file=sys.stderr, flush=True)
        sys.exit(exit_code(interrupt))


def make(work: Work) -> int:
    """Make what a command line asks for, and say what became of it; return the exit code.

    Raises InputError where nothing can be made at all, and KeyboardInterrupt where the user ends it.
    """
    if work.cfg is not None:
        return _make_sweep(work, work.cfg)
    (job,) = work.jobs
    if job.artifact is None:
        raise InputError(job.problem)
    with closing(work.executor()) as executor:
        outcomes = build_all([job.artifact], executor, View(work.app))
    root = outcomes[job.artifact.path]
    if len(outcomes) > 1:
        print_outcomes(work.app, outcomes.values())
    if outcomes.interrupt is not None:
        raise outcomes.interrupt
    if root.state in ("done", "reused", "partial"):
        root.artifact.show()
    return 0 if outcomes.succeeded() else 1


def made_of(roots: Iterable[Artifact], cfg: DictConfig, app: str) -> Outcomes:
    """Return what became of artifacts that a program needs, made by the executor of its configuration.

    Raises KeyboardInterrupt where the user ends it.
    """
    with closing(executor_of(own_executor(cfg), "executor", app)) as executor:
        outcomes = build_all(roots, executor, View(app))
    if outcomes.interrupt is not None:
        raise outcomes.interrupt
    return outcomes


def _make_sweep(work: Work, cfg: DictConfig) -> int:
    folder = sweep_folder(cfg)
    roots = [job.artifact for job in work.jobs if job.artifact is not None]
    outcomes, size = Outcomes(), cfg.hydra.sweeper.max_batch_size or max(1, len(roots))
    with closing(work.executor()) as executor:  # what is wrong with its section ends here, before a file is written
        write_sweep(folder, work.app, work.jobs, ended=False)
        files.write_atomically(folder / CONFIG, OmegaConf.to_yaml(cfg))
        for job in work.jobs:
            if job.problem:
                print(f"error: job {job.number}: {job.problem}", file=sys.stderr, flush=True)
        for first in range(0, len(roots), size):
            made = build_all(roots[first : first + size], executor, View(f"sweep {cfg.sweep}"))
            outcomes.update(made)
            outcomes.interrupt = made.interrupt
            if made.interrupt is not None:
                break
    write_sweep(folder, work.app, work.jobs, ended=True)
    succeeded = print_jobs(cfg.sweep, work.jobs, outcomes)
    if outcomes.interrupt is not None:
        raise outcomes.interrupt
    if not succeeded:
        print(f"sweep {cfg.sweep}: the same line tries again what did not succeed", file=sys.stderr, flush=True)
    return 0 if succeeded else 1


@readable()
def run_sweep(config: DictConfig, loader: ConfigLoaderImpl, program: Any) -> None:
    """Run the jobs of a multirun; ends the process with code 1 where one did not succeed, or the line makes no sense.

    Args:
        config: of the multirun.
        loader: composes the configurations of its jobs.
        program: `program.main` plans the artifact of a configuration, and `program.carry_out` makes or previews it;
            where that is None, `main` does the work itself.

    Raises HydraException where a job's configuration cannot be composed.
    """
    app, size = config.hydra.job.name, config.hydra.sweeper.max_batch_size
    params = dict(config.hydra.sweeper.params or {})
    swept = [each for each in given(config) if not re.match(r"\+*executor[.=]", each)]
    digest = hashlib.sha256(json.dumps([swept, params]).encode()).hexdigest()[:8]
    name_sweep(config, f"{app}-{digest}")  # so that the same line, on any executor, is the same sweep
    section = executor_section(config)
    lines = [*(f"{key}={value}" for key, value in params.items()), *given(config)]
    combinations = jobs_of(OverridesParser.create(config_loader=loader).parse_overrides(lines))
    if size is not None and size < 1:
        raise InputError(f"hydra.sweeper.max_batch_size is {size}; it must be positive, or null")
    listed = [[*job, f"sweep={config.sweep}"] for job in combinations]
    configs = [loader.load_sweep_config(config, overrides) for overrides in listed]
    with env_override(dict(config.hydra.job.env_set)):
        if program.carry_out is None:
            code = _run_each(config.sweep, program.main, configs, section[0])
        else:
            numbered = enumerate(zip(listed, configs, strict=True))
            jobs = [planned(program.main, number, job, configured(cfg, number)) for number, (job, cfg) in numbered]
            note_idle(lines, [job.artifact for job in jobs if job.artifact is not None], config)
            code = program.carry_out(Work(app, jobs, lambda: executor_of(*section, app), config))
    if code:
        sys.exit(code)


def _run_each(name: str, main: Main, configs: Sequence[DictConfig], executor: Mapping[str, Any]) -> int:
    """Run programs that make no artifact, such as tables, one after the other in this process."""
    states: list[str] = []
    for number, composed in enumerate(configs):
        cfg = configured(composed, number)
        with open_dict(cfg):
            cfg.executor = executor
        try:
            load_plugins(cfg)
            check_sections(cfg)
            main(cfg)
            states.append("done")
        except Exception as error:
            said = f" {error}" if isinstance(error, InputError) else f"\n{traceback.format_exc()}"
            print(f"error: job {number}:{said}", file=sys.stderr, flush=True)
            states.append("failed")
    print(f"sweep {name}: {', '.join(f'job {number} {state}' for number, state in enumerate(states))}")
    return int("failed" in states)


def configured(cfg: DictConfig, number: int) -> DictConfig:
    """Return the composed configuration of a job as Hydra gives it to a program."""
    with open_dict(cfg):
        cfg.hydra.job.num, cfg.hydra.job.id = number, f"job_id_for_{number}"
        HydraConfig.instance().set_config(cfg)  # to which a program may refer
        del cfg["hydra"]
    return cfg


def executor_section(config: DictConfig) -> tuple[Mapping[str, Any], str]:
    """Return the section that says where artifacts are made, and its name: `executor`, or that of Hydra's launcher.

    Raises InputError where both are named, or the launcher is one that rwtl does not know.
    """
    launcher = config.hydra.runtime.choices.get("hydra/launcher")
    if launcher == "basic":
        return own_executor(config), "executor"
    named = [each for each in given(config) if each.partition("=")[0].lstrip("+") == "executor"]
    if named:
        raise InputError(f"hydra/launcher={launcher} and {named[-1]} both say where the jobs run; leave one out")
    keys = OmegaConf.to_container(config.hydra.launcher, resolve=True)
    if launcher == "slurm":
        return keys, "hydra.launcher"
    if launcher == "joblib":
        count = keys.get("n_jobs")
        if not isinstance(count, int) or isinstance(count, bool) or count == 0:
            raise InputError(f"hydra.launcher.n_jobs is {count!r}; it must be a whole number, and not 0")
        jobs = count if count > 0 else max(1, (os.cpu_count() or 1) + 1 + count)  # as joblib counts
        return {"kind": "processes", "jobs": jobs}, "hydra.launcher"
    raise InputError(f"hydra/launcher is {launcher}; choose basic, joblib or slurm, or write executor=processes")


def own_executor(cfg: DictConfig) -> dict[str, Any]:
    """Return the section `executor` of a configuration; of one that says nothing of it, that of `inline`.

    Where the configuration is one that an artifact keeps, `executor=slurm` on the command line is a mere word.
    """
    section = cfg.get("executor") or "inline"
    if isinstance(section, str):
        names = sorted(file.stem for file in (CONF / "executor").glob("*.yaml"))
        if section not in names:
            raise InputError(f"executor is {section}; choose one of {', '.join(names)}")
        section = OmegaConf.load(CONF / "executor" / f"{section}.yaml")
        section._set_parent(cfg)
    return OmegaConf.to_container(section, resolve=True)


def executor_of(values: Mapping[str, Any], name: str, app: str) -> Executor:
    """Return the executor that a section describes: `name` is what messages call it, and `app` what a cluster shows.

    Raises InputError where a value is wrong.
    """
    kind, rest = chosen(("inline", "processes", "slurm"), values, name)
    if kind == "inline":
        if rest:
            raise InputError(f"{name}.{next(iter(rest))}: executor=inline has no keys; write executor=processes")
        return Inline()
    if kind == "processes":
        return Processes(typed(ProcessesConfig, rest, name))
    from rwtl.sweeps.slurm import Slurm, SlurmConfig  # submitit is needed for it alone

    return Slurm(typed(SlurmConfig, rest, name), name, app)


def given(config: DictConfig) -> list[str]:
    """Return the overrides of the command line as they were given."""
    return OmegaConf.to_container(config.hydra.overrides.task, resolve=False)


def name_sweep(config: DictConfig, default: str) -> None:
    """Set `config.sweep`, unless the user did.

    Raises InputError where it is no name of a folder.
    """
    if config.sweep is None:
        config.sweep = default
    if not re.fullmatch(r"\w[\w.-]{0,99}", str(config.sweep)):
        rule = "it must be a name of at most 100 letters, digits, '_', '.' and '-'"
        raise InputError(f"sweep is {short(config.sweep)[:120]!r}; {rule}")


def jobs_of(overrides: list[Override]) -> list[list[str]]:
    """Return the overrides of each job of a sweep: all combinations.

    Raises InputError where two jobs are equal, or there are none.
    """
    for override in overrides:
        section = override.key_or_group.partition(".")[0]
        if section in ("sweep", "executor") and override.is_sweep_override():
            what = "one name" if section == "sweep" else "one executor"
            raise InputError(f"{override.input_line}: a sweep has {what}")
    try:
        swept_over = [each for each in overrides if each.key_or_group != "sweep"]
        (combinations,) = BasicSweeper.split_arguments(swept_over, None)
    except HydraException as error:
        remedy = "give its values one by one, or search with hydra/sweeper=search or hparams_search=..."
        raise InputError(f"{error}; {remedy}") from error
    if not combinations:
        raise InputError("the sweep has no jobs: one of its overrides names no value")
    swept = [override.get_key_element() for override in overrides if override.is_sweep_override()]
    first: dict[tuple[str, ...], int] = {}
    for number, job in enumerate(combinations):
        if (same := first.setdefault(tuple(job), number)) != number:
            values = pasted(each for each in job if each.partition("=")[0] in swept)
            raise InputError(f"jobs {same} and {number} of the sweep are the same, {values}; name every value once")
    return combinations
