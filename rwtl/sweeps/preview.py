"""What a line would reuse, wait for, go on with and make: of any experiment of stages, one run or a sweep."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from rich.markup import escape
from rich.table import Column, Table

from rwtl.config import CONF
from rwtl.errors import InputError
from rwtl.pipeline.artifact import CLAIMS, FORMAT, Step, read_status
from rwtl.pipeline.claim import holder_of
from rwtl.pipeline.planning import planned
from rwtl.progress import Progress
from rwtl.sweeps.status import show
from rwtl.sweeps.sweep import jobs_of

WILL = {"complete": "reuse", "interrupted": "go on with", "failed": "try again", "missing": "make"}


@dataclass
class Intended:
    """An artifact that a line needs.

    Args:
        step: which, and how it stands.
        jobs: numbers of the jobs that need it.
    """

    step: Step
    jobs: list[int] = field(default_factory=list)

    @property
    def will(self) -> str:
        """What becomes of it."""
        return WILL.get(self.step.state, "wait for")

    def note(self) -> str:
        """Who makes it, or why it failed."""
        if self.step.state == "failed":
            return (read_status(self.step.path) or {}).get("reason", "").removeprefix("InputError: ")
        held = holder_of(self.step.path / CLAIMS) if self.step.state == "running" else None
        return str(held[0]) if held else ""


def show_intended(app: str, line: Sequence[str]) -> int:
    """Print what a line of an experiment would do; return the exit code: 1 where some of it makes no sense."""
    try:
        jobs = _jobs(line)
        intended, problems = intended_by(app, jobs, getattr(_parsed(line), "config_dir", None))
    except (InputError, HydraException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    _print(list(intended.values()), len(jobs))
    for number, problem in problems.items():
        print(f"error: job {number} ({' '.join(jobs[number])}): {problem}", file=sys.stderr)
    return 1 if problems else 0


def _parsed(line: Sequence[str]):
    return get_args_parser().parse_args(list(line))


def _jobs(line: Sequence[str]) -> dict[int, list[str]]:
    overrides = OverridesParser.create().parse_overrides(_parsed(line).overrides)
    if any(override.key_or_group == "hparams_search" for override in overrides):
        raise InputError(
            "a search proposes its points as it goes: what it will make is not known; leave hparams_search out"
        )
    jobs = jobs_of(overrides, "intended")
    return {number: [each for each in job if each != "sweep=intended"] for number, job in jobs.items()}


def intended_by(
    app: str, jobs: dict[int, list[str]], config_dir: str | None = None
) -> tuple[dict[str, Intended], dict[int, str]]:
    """Return what jobs need, by digest, parents first, and what is wrong with jobs, by number. Makes nothing.

    Args:
        app: one of rwtl.pipeline.planning.APPS.
        jobs: overrides of each.
        config_dir: a folder of further presets.

    Raises HydraException where a configuration cannot be composed.
    """
    intended: dict[str, Intended] = {}
    problems: dict[int, str] = {}
    progress = Progress("plan", len(jobs), "jobs")
    further = [f"hydra.searchpath=[file://{Path(config_dir).absolute()}]"] if config_dir else []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for number, overrides in jobs.items():
            try:
                for step in planned(app, compose(app, overrides=[*overrides, *further])):
                    intended.setdefault(step.digest, Intended(step)).jobs.append(number)
            except InputError as error:
                problems[number] = str(error)
            progress(number + 1)
    return intended, problems


def _print(intended: list[Intended], jobs: int) -> None:
    columns = ["stage", Column("digest", no_wrap=True), "label", "will", Column("for jobs", justify="right"), "note"]
    table = Table(*columns)
    ordered = sorted(intended, key=lambda each: list(FORMAT).index(each.step.kind))
    for each in ordered:
        cells = [
            each.step.kind,
            each.step.digest,
            each.step.label,
            each.will,
            f"{len(each.jobs)} of {jobs}",
            each.note(),
        ]
        table.add_row(*map(escape, cells), style=None if each.will == "reuse" else "bold")
    show(table)
    for kind in dict.fromkeys(each.step.kind for each in ordered):
        counted = Counter(each.will for each in ordered if each.step.kind == kind)
        print(f"{kind}: {', '.join(f'{count} to {will}' for will, count in counted.items())}", flush=True)
