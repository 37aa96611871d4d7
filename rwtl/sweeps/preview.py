"""What a line would reuse, wait for, go on with and make: of any experiment of stages, one run or a sweep."""

import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hydra import compose
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig
from rich.markup import escape
from rich.table import Column, Table

from rwtl.composition import composing
from rwtl.config import CONF
from rwtl.errors import InputError
from rwtl.pipeline.artifact import CLAIMS, FORMAT, Artifact, reason_of
from rwtl.pipeline.claim import holder_of
from rwtl.progress import Progress
from rwtl.retired import require_current
from rwtl.sweeps.app import absolute_config_path
from rwtl.sweeps.sweep import jobs_of
from rwtl.terminal import show

WILL = {"complete": "reuse", "interrupted": "go on with", "failed": "try again", "missing": "make"}


Stage = Callable[[DictConfig], Artifact]


@dataclass
class Preview:
    """What jobs of an experiment would do.

    Args:
        artifacts: that they need, by path, parents first.
        jobs: the numbers of the jobs that need each, by path.
        missing: paths of those that some job has to make.
        problems: what is wrong with jobs, by number.
    """

    artifacts: dict[Path, Artifact] = field(default_factory=dict)
    jobs: dict[Path, list[int]] = field(default_factory=dict)
    missing: set[Path] = field(default_factory=set)
    problems: dict[int, str] = field(default_factory=dict)

    def add(self, number: int, result: Artifact) -> None:
        """Add the artifact that a job makes, and its ancestors."""
        self.missing |= {artifact.path for artifact in result.missing()}
        for artifact in result.ancestors():
            self.artifacts.setdefault(artifact.path, artifact)
            self.jobs.setdefault(artifact.path, []).append(number)

    def will(self, artifact: Artifact, state: str) -> str:
        """Return what becomes of an artifact: one that is gone, but from which nothing has to be made, stays so."""
        needed = state == "complete" or artifact.path in self.missing
        return WILL.get(state, "wait for") if needed else "not needed"


def _note(artifact: Artifact, state: str) -> str:
    """Who makes it, or why it failed."""
    if state == "failed":
        return reason_of(artifact.status())
    held = holder_of(artifact.path / CLAIMS) if state == "running" else None
    return str(held[0]) if held else ""


def show_preview(app: str, stage: Stage, line: Sequence[str]) -> int:
    """Print what a line of an experiment would do; return the exit code: 1 where some of it makes no sense.

    Args:
        app: its name.
        stage: returns the artifact that it makes of a configuration.
        line: its overrides and flags.
    """
    try:
        jobs = _jobs(line)
        preview = preview_of(app, stage, jobs, _parsed(line))
    except (InputError, HydraException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    _print(preview, len(jobs))
    for number, problem in preview.problems.items():
        print(f"error: job {number} ({' '.join(jobs[number])}): {problem}", file=sys.stderr)
    return 1 if preview.problems else 0


def _parsed(line: Sequence[str]) -> Namespace:
    return get_args_parser().parse_args(list(line))


def _jobs(line: Sequence[str]) -> dict[int, list[str]]:
    require_current(_parsed(line).overrides)
    overrides = OverridesParser.create().parse_overrides(_parsed(line).overrides)
    if any(override.key_or_group == "hparams_search" for override in overrides):
        raise InputError(
            "a search proposes its points as it goes: what it will make is not known; leave hparams_search out"
        )
    jobs = jobs_of(overrides, "intended")
    return {number: [each for each in job if each != "sweep=intended"] for number, job in jobs.items()}


def preview_of(app: str, stage: Stage, jobs: dict[int, list[str]], flags: Namespace) -> Preview:
    """Return what jobs would do; makes nothing.

    Args:
        app: the experiment's name.
        stage: returns the artifact that it makes of a configuration.
        jobs: overrides of each.
        flags: Hydra's, of which --config-dir, --config-path and --config-name say where the configuration is.

    Raises InputError where --config-dir is no folder, HydraException where a configuration cannot be composed.
    """
    preview = Preview()
    progress = Progress("plan", len(jobs), "jobs")
    if flags.config_dir and not Path(flags.config_dir).is_dir():
        raise InputError(f"--config-dir is {flags.config_dir}; it must be a folder that is there")
    conf = CONF if flags.config_path is None else Path(absolute_config_path(flags.config_path))
    with composing(flags.config_dir, conf) as further:
        for number, overrides in jobs.items():
            try:
                preview.add(number, stage(compose(flags.config_name or app, overrides=[*overrides, *further])))
            except InputError as error:
                preview.problems[number] = str(error)
            progress(number + 1)
    return preview


def _print(preview: Preview, jobs: int) -> None:
    columns = ["stage", Column("digest", no_wrap=True), "label", "will", Column("for jobs", justify="right"), "note"]
    table = Table(*columns)
    counted: dict[str, Counter] = {}
    for artifact in sorted(preview.artifacts.values(), key=lambda each: list(FORMAT).index(each.kind)):
        state = artifact.state()
        will = preview.will(artifact, state)
        cells = [artifact.kind, artifact.digest, artifact.label, will]
        cells += [f"{len(preview.jobs[artifact.path])} of {jobs}", _note(artifact, state)]
        table.add_row(*map(escape, cells), style=None if will in ("reuse", "not needed") else "bold")
        counted.setdefault(artifact.kind, Counter())[will] += 1
    show(table)
    for kind, of_kind in counted.items():
        said = [f"{count} {will if will == 'not needed' else f'to {will}'}" for will, count in of_kind.items()]
        print(f"{kind}: {', '.join(said)}", flush=True)
