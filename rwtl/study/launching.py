"""Handing jobs to Hydra's launchers, which differ in what they do when a job dies."""

import sys
import traceback
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from hydra.plugins.launcher import Launcher

from rwtl.errors import InputError
from rwtl.study.jobs import read_records

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
