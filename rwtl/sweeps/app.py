"""What all experiments share: errors that a user can act on, and records of what a sweep's jobs came to."""

import functools
import math
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import get_method
from omegaconf import DictConfig

from rwtl.config import CONF
from rwtl.errors import InputError
from rwtl.pipeline.artifact import Artifact
from rwtl.pipeline.provenance import now
from rwtl.plugins import load_plugins
from rwtl.processes import end_fast, exit_code, reason_of, terminable
from rwtl.retired import require_current
from rwtl.sweeps.jobs import JobRecord, sweep_folder, write_record

Result = Artifact | tuple[Artifact, float | None] | None
Main = Callable[[DictConfig], Result]


class JobFailed(Exception):
    """Ends a job of a sweep that has said and recorded why, so that the launcher goes on with the others."""


def experiment(config: str, stage: str | None = None) -> Callable[[Main], Callable[[], None]]:
    """Make a function of a configuration an experiment, which Hydra configures by sys.argv: bad input ends it with one
    line and exit code 1, in place of a traceback, and SIGTERM as Ctrl-C: what was finished is kept.

    A job of a sweep writes its record besides, and raises JobFailed in place of ending the process. The function itself
    imports what it uses: every process that a training starts imports the file that was called again, and so need
    not load what the experiment alone uses.

    Args:
        config: name of its file in conf.
        stage: name, with its module, of the function that returns the artifact that the experiment makes of a
            configuration, so that a cluster can plan its jobs; None for an experiment that makes none. The decorated
            function returns the artifact, finished, or the artifact and the number that a search of hyper-parameters
            minimises.
    """
    end_fast()

    def decorate(main: Main) -> Callable[[], None]:
        @functools.wraps(main)
        def wrapped(cfg: DictConfig) -> Result:
            # Launchers send this function to other processes by its text: what it refers to must be imported there.
            return _job(main, cfg) if _is_job(cfg) else _alone(main, cfg)

        wrapped.stage = stage and (lambda cfg: get_method(stage)(cfg))
        configured = hydra.main(version_base="1.3", config_path=str(CONF), config_name=config)(wrapped)

        @functools.wraps(configured)
        def called() -> None:
            given = get_args_parser().parse_args()
            try:
                require_current(given.overrides)
            except InputError as error:
                print(f"error: {error}", file=sys.stderr)
                sys.exit(1)
            if given.config_path is not None:
                sys.argv.append(f"--config-path={absolute_config_path(given.config_path)}")
            configured()

        return called

    return decorate


def absolute_config_path(given: str) -> str:
    """Return a `--config-path` as Hydra reads it everywhere: one is relative to the file that was called, and for the
    command `rwtl` to the current folder."""
    return given if given.startswith("pkg://") else str(Path(sys.argv[0]).resolve().parent / given)


def _is_job(cfg: DictConfig) -> bool:
    multirun = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    return multirun and cfg.get("sweep") is not None


def _alone(main: Main, cfg: DictConfig) -> Result:
    try:
        with terminable():
            load_plugins(cfg)
            return main(cfg)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
    except KeyboardInterrupt as interrupt:
        reason = f" ({interrupt})" if str(interrupt) else ""
        print(
            f"interrupted{reason}; what was finished is kept, and the same command goes on from there", file=sys.stderr
        )
        sys.exit(exit_code(interrupt))


def _job(main: Main, cfg: DictConfig) -> Result:
    job = HydraConfig.get()
    folder = sweep_folder(cfg)
    record = JobRecord(job.job.num, list(job.overrides.task), _log())
    try:
        write_record(folder, record)
        with terminable():
            load_plugins(cfg)
            result = main(cfg)
        made, value = result if isinstance(result, tuple) else (result, None)
        if made is not None:
            record.artifacts = [str(artifact.path) for artifact in made.ancestors()]
            record.reused = bool(made.reused)
        _conclude(folder, record, "complete", value=value if value is not None and math.isfinite(value) else None)
        return None  # launchers would send it back to the sweep, which reads the record
    except InputError as error:
        print(f"error: job {record.number}: {error}", file=sys.stderr, flush=True)
        _conclude_badly(folder, record, "failed", str(error))
        raise JobFailed(str(error)) from None
    except KeyboardInterrupt as interrupt:
        _conclude_badly(folder, record, "interrupted", reason_of(interrupt))
        raise
    except SystemExit as ended:  # submitit's, once it has asked SLURM to run the job again
        _conclude_badly(folder, record, "interrupted", f"exit code {ended.code}")
        raise
    except Exception as error:
        print(f"error: job {record.number}:\n{traceback.format_exc()}", file=sys.stderr, flush=True)
        reason = "".join(traceback.format_exception_only(error)).strip()
        _conclude_badly(folder, record, "failed", reason)
        raise JobFailed(reason) from None


def _conclude_badly(folder: Path, record: JobRecord, state: str, reason: str) -> None:
    with suppress(InputError):  # on a full disk the record stays as it was, and the job is said to have died
        _conclude(folder, record, state, reason)


def _conclude(folder: Path, record: JobRecord, state: str, reason: str = "", value: float | None = None) -> None:
    record.state, record.reason, record.value, record.finished = state, reason, value, now()
    write_record(folder, record)


def _log() -> str | None:
    if "SUBMITIT_EXECUTOR" not in os.environ:
        return None
    import submitit

    return str(submitit.JobEnvironment().paths.stdout)
