"""Handing jobs to Hydra's launchers, which differ in what they do when a job dies."""

import hashlib
import json
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from rwtl.errors import InputError
from rwtl.pipeline.claim import LEASE, Holder, claim
from rwtl.processes import exit_code, reason_of, terminable
from rwtl.sweeps.jobs import SUCCEEDED, job_states, print_table, read_records, remove_records, sweep_folder

Jobs = dict[int, list[str]]  # overrides of each job, by number


def launch(launcher: Launcher, jobs: Jobs, folder: Path) -> list[Any]:
    """Launch jobs and wait for them, those that come after a dead one included.

    Args:
        launcher: any of Hydra's, set up.
        jobs: those to launch; the launcher gives them their numbers.
        folder: of the sweep's records, with none of these jobs.

    Returns:
        What the launcher returned, as far as it did; who wants to know what a job came to reads its record.

    Raises:
        InputError: The launcher cannot launch anything.
    """
    returned = []
    for first, overrides in _consecutive(jobs):
        try:
            returned += launcher.launch(overrides, initial_job_idx=first) or []
        except InputError:
            raise
        except BrokenProcessPool as error:
            print(f"error: a process of the launcher died: {error}", file=sys.stderr, flush=True)
            returned += _launch_rest(launcher, jobs, folder)
        except Exception:
            print(f"error: the launcher failed:\n{traceback.format_exc()}", file=sys.stderr, flush=True)
    return returned


def _launch_rest(launcher: Launcher, jobs: Jobs, folder: Path) -> list[Any]:
    """Joblib gives up all jobs when one of its processes dies: launch those that had not begun."""
    begun = read_records(folder)
    rest = {number: overrides for number, overrides in jobs.items() if number not in begun}
    return launch(launcher, rest, folder) if len(rest) < len(jobs) else []


def _consecutive(jobs: Jobs) -> Iterator[tuple[int, list[list[str]]]]:
    """The first number, and the overrides, of each run of consecutive jobs: launchers count on from the first."""
    runs: list[list[int]] = []
    for number in sorted(jobs):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    for run in runs:
        yield run[0], [jobs[number] for number in run]


CLAIMS = "claims"


@contextmanager
def claimed(folder: Path, name: str) -> Iterator[None]:
    """Hold the folder of a sweep, which is made where missing.

    Raises:
        InputError: It cannot be written, or another process runs the sweep. Whether one on another machine still lives
            takes up to LEASE seconds to find out.
    """
    try:
        held = claim(folder / CLAIMS, lambda: False, _Refusal(name))
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot write to {folder} ({reason}); set paths.outputs to another folder") from error
    try:
        yield
    except BaseException:
        held.release()
        raise
    held.finish(lambda: None)


class _Refusal:
    """Is called while another process holds the sweep, and refuses once that is seen to live."""

    def __init__(self, name: str):
        self._name = name
        self._silence: float | None = None

    def __call__(self, holder: Holder | None, silence: float) -> None:
        if holder is None:
            return
        if holder.dead() is False or (self._silence is not None and silence < self._silence):
            raise InputError(
                f"sweep {self._name} is being run by {holder}: wait for it, or give this one another name: sweep=..."
            )
        if self._silence is None:
            print(f"sweep {self._name}: does {holder} still run it? Seen within {LEASE:g} s", flush=True)
        self._silence = silence


CONFIG = "multirun.yaml"


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
        print(f"interrupted ({reason_of(interrupt)}); the same line goes on from there", file=sys.stderr, flush=True)
        sys.exit(exit_code(interrupt))


def digest_name(config: DictConfig, params: Mapping[str, str] | None) -> str:
    """Return the app and a digest of what is swept over, so that the same line is the same sweep."""
    swept = json.dumps([list(config.hydra.overrides.task), dict(params or {})])
    return f"{config.hydra.job.name}-{hashlib.sha256(swept.encode()).hexdigest()[:8]}"


def name_sweep(config: DictConfig, default: str) -> None:
    """Set `config.sweep`, unless the user did.

    Raises InputError where it is no name of a folder.
    """
    if config.sweep is None:
        config.sweep = default
    if not re.fullmatch(r"\w[\w.-]*", str(config.sweep)):
        raise InputError(f"sweep is {config.sweep!r}; it must be a name of letters, digits, '_', '.' and '-'")


def run_sweep(sweeper: BasicSweeper, arguments: Sequence[str]) -> list[Any]:
    """Run the jobs of a multirun and print their table; ends the process with code 1 where one did not succeed.

    Args:
        sweeper: set up, with its configuration, launcher and settings.
        arguments: the overrides of the command line.

    Returns:
        What the launcher returned, batch by batch.

    Raises:
        InputError: Jobs are equal, there are none, or another process runs the same sweep.
        HydraException: A job's configuration cannot be composed.
    """
    config = sweeper.config
    parser = OverridesParser.create(config_loader=sweeper.hydra_context.config_loader)
    overrides = parser.parse_overrides([*sweeper._parse_config(), *arguments])
    jobs = jobs_of(overrides, config.sweep)
    sweeper.validate_batch_is_legal(_forms(sweeper, overrides, jobs))
    size = len(jobs) if sweeper.max_batch_size is None else sweeper.max_batch_size
    if size < 1:
        raise InputError(f"hydra.sweeper.max_batch_size is {size}; it must be positive, or null")
    folder = sweep_folder(config)
    with claimed(folder, config.sweep):
        OmegaConf.save(config, folder / CONFIG)
        remove_records(folder)
        returned = []
        try:
            for first in range(0, len(jobs), size):
                batch = {number: jobs[number] for number in range(first, min(first + size, len(jobs)))}
                returned += launch(sweeper.launcher, batch, folder)
        except KeyboardInterrupt:
            print_table(config.sweep, job_states(jobs, read_records(folder), ended=False))
            raise
        states = job_states(jobs, read_records(folder), ended=True)
        print_table(config.sweep, states)
    if any(state.state not in SUCCEEDED for state in states):
        print(f"sweep {config.sweep}: the same line tries again what did not succeed", file=sys.stderr, flush=True)
        sys.exit(1)
    return returned


def jobs_of(overrides: list[Override], sweep: str) -> Jobs:
    """Return the overrides of each job of a sweep of that name: all combinations.

    Raises InputError where two jobs are equal, or there are none.
    """
    names = [override for override in overrides if override.key_or_group == "sweep"]
    if any(override.is_sweep_override() for override in names):
        raise InputError(f"{names[-1].input_line}: a sweep has one name")
    try:
        (combinations,) = BasicSweeper.split_arguments([each for each in overrides if each not in names], None)
    except HydraException as error:
        raise InputError(f"{error}; give its values one by one, or search with hparams_search=...") from error
    if not combinations:
        raise InputError("the sweep has no jobs: one of its overrides names no value")
    swept = [override.get_key_element() for override in overrides if override.is_sweep_override()]
    first: dict[tuple[str, ...], int] = {}
    for number, job in enumerate(combinations):
        if (same := first.setdefault(tuple(job), number)) != number:
            values = " ".join(each for each in job if each.partition("=")[0] in swept)
            raise InputError(f"jobs {same} and {number} of the sweep are the same, {values}; name every value once")
    return {number: [*job, f"sweep={sweep}"] for number, job in enumerate(combinations)}


def _forms(sweeper: BasicSweeper, overrides: list[Override], jobs: Jobs) -> list[list[str]]:
    """One of the jobs for each that may compose differently: all values of a key compose, or none, but not all choices
    of a group. Composing takes a tenth of a second."""
    is_group = sweeper.hydra_context.config_loader.repository.group_exists
    groups = {override.get_key_element() for override in overrides if is_group(override.key_or_group)}
    forms = {tuple(each for each in job if each.partition("=")[0] in groups): job for job in jobs.values()}
    return list(forms.values())
