"""What all programs share: Hydra's configuration, errors that a user can act on, and the making of artifacts."""

import argparse
import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import env_override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rwtl.composition import base_of, said
from rwtl.config import CONF, overrides_at_home, told
from rwtl.errors import InputError
from rwtl.keys import as_texts, require_keys, require_presets, without_plus
from rwtl.pipeline.known import check_sections
from rwtl.plugins import load_plugins
from rwtl.processes import end_fast
from rwtl.retired import require_current
from rwtl.sweeps.jobs import Main, note_idle, planned
from rwtl.sweeps.sweep import Work, executor_of, make, own_executor, readable
from rwtl.terminal import lasting

FULL_ERROR = "HYDRA_FULL_ERROR"
Program = Callable[..., None]  # called without arguments, or with another way to carry out its work than `make`


def experiment(config: str) -> Callable[[Main], Program]:
    """Make a program of a function from a configuration to the artifact that it describes: the program makes it.

    Hydra configures it by sys.argv. Bad input ends it with one line and exit code 1, in place of a traceback; SIGTERM
    ends it as Ctrl-C does, and what was finished is kept. The function itself imports what it uses: every process that
    a training starts imports the file that was called again, and need not load what the program alone uses.

    Args:
        config: name of its file in conf.
    """
    return lambda main: _program(config, main, make)


def program(config: str) -> Callable[[Main], Program]:
    """Make a program of a function of a configuration that does its work itself, such as writing a table.

    It is configured, and ends, as an `experiment` does.
    """
    return lambda main: _program(config, main, None)


def _program(config: str, main: Main, carry_out: Callable[[Work], int] | None) -> Program:
    end_fast()

    @functools.wraps(main)
    def alone(cfg: DictConfig) -> None:
        with readable():
            load_plugins(cfg)
            if alone.carry_out is None:
                check_sections(cfg)
                main(cfg)
            elif code := alone.carry_out(_work(main, cfg)):
                sys.exit(code)

    alone.main, alone.carry_out = main, carry_out  # for a sweep, which Hydra gives this function
    configured = hydra.main(version_base="1.3", config_path=str(CONF), config_name=config)(alone)

    @functools.wraps(configured)
    def called(instead: Callable[[Work], int] | None = None) -> None:
        alone.carry_out = instead or carry_out
        lasting()
        sys.argv[1:] = overrides_at_home(sys.argv[1:])
        with readable():
            given = _given()
            folders = [Path(given.config_dir)] if given.config_dir else []
            base = functools.cache(lambda: base_of(config, given.overrides, given.config_dir))
            require_current(given.overrides)
            if given.config_path is None:  # a configuration that an artifact keeps has no groups
                require_presets(given.overrides)
                require_keys(given.overrides, base, folders)
        if given.help and given.config_path is None and given.config_name is None:
            from rwtl.help import help_of

            with _in_one_line(base):
                print(help_of(config, sys.modules[main.__module__].__doc__ or main.__doc__ or "", given))
            return
        if given.config_path is not None:
            here = Path(sys.argv[0]).resolve().parent  # of the file that was called; for `rwtl` the current folder
            path = given.config_path if given.config_path.startswith("pkg://") else here / given.config_path
            sys.argv.append(f"--config-path={path}")
            if given.multirun:  # a configuration that an artifact keeps says nothing of Hydra
                last = len(sys.argv) - sys.argv[::-1].index(given.overrides[-1]) if given.overrides else len(sys.argv)
                sys.argv.insert(last, "hydra/sweeper=recorded")
        with _in_one_line(base):
            configured()

    called.makes = carry_out is not None
    return called


def _given() -> argparse.Namespace:
    """Return what Hydra reads of sys.argv, whose overrides are brought together: they may stand before a flag too.

    Texts that YAML would read as numbers get quotes there.
    """
    given, late = get_args_parser().parse_known_args()
    late = [word for word in late if not word.startswith("-")]  # of the others Hydra says that it does not know them
    for word in late:
        sys.argv.remove(word)
    if late:
        last = len(sys.argv) - sys.argv[::-1].index(given.overrides[-1]) if given.overrides else 1
        sys.argv[last:last] = late
    for word in (*given.overrides, *late):
        sys.argv[sys.argv.index(word)] = as_texts(word)
    return get_args_parser().parse_args()


@contextmanager
def _in_one_line(base: Callable[[], DictConfig]) -> Iterator[None]:
    """Say in one line what Hydra says of a command line in several, unless the user has asked for all of it."""
    if FULL_ERROR in os.environ:
        yield
        return
    try:
        with env_override({FULL_ERROR: "1"}):  # by which Hydra passes on what it has raised
            yield
    except OmegaConfBaseException as error:
        print(f"error: {told(error)}", file=sys.stderr, flush=True)
        sys.exit(1)
    except HydraException as error:
        print(f"error: {without_plus(str(error), base) or said(error)}", file=sys.stderr, flush=True)
        sys.exit(1)


def _work(main: Main, cfg: DictConfig) -> Work:
    """What a single run asks for."""
    app, overrides = main.__module__.rpartition(".")[2], []
    if HydraConfig.initialized():
        given = OmegaConf.to_container(HydraConfig.get().overrides, resolve=False)
        overrides = given["task"]
        if launchers := [each for each in given["hydra"] if each.startswith("hydra/launcher=")]:
            raise InputError(
                f"{launchers[0]} is for the jobs of --multirun; write executor=processes or executor=slurm"
            )
    section = own_executor(cfg)
    job = planned(main, 0, overrides, cfg)
    note_idle(overrides, [job.artifact] if job.artifact else [], cfg)
    return Work(app, [job], lambda: executor_of(section, "executor", app))
