"""What a line would reuse, wait for, go on with and make: of any program that makes artifacts, one run or a sweep."""

import sys
from collections import Counter
from pathlib import Path

from rich.table import Column, Table

from rwtl.overrides import pasted
from rwtl.pipeline.artifact import Artifact
from rwtl.pipeline.status import FORMAT, maker_of, reason_of
from rwtl.sweeps.sweep import Work
from rwtl.sweeps.view import counted
from rwtl.terminal import show

WILL = {"complete": "reuse", "interrupted": "go on with", "failed": "try again", "missing": "make"}


def preview(work: Work) -> int:
    """Print what would become of all that a command line asks for, and make nothing; return the exit code: 1 where some
    of its configurations are bad."""
    work.executor().close()  # whose section may be bad
    artifacts: dict[Path, Artifact] = {}  # parents first
    jobs: Counter[Path] = Counter()
    missing: set[Path] = set()
    for job in work.jobs:
        if job.artifact is not None:
            missing |= {artifact.path for artifact in job.artifact.missing()}
            for artifact in job.artifact.ancestors():
                artifacts.setdefault(artifact.path, artifact)
                jobs[artifact.path] += 1
    table = Table("stage", Column("digest", no_wrap=True), "label", "will", Column("for jobs", justify="right"), "note")
    becomes: dict[str, list[str]] = {}
    for artifact in sorted(artifacts.values(), key=lambda each: list(FORMAT).index(each.kind)):
        state = artifact.state()
        needed = state == "complete" or artifact.path in missing  # one that is gone, but not needed, stays so
        will = WILL.get(state, "wait for") if needed else "not needed"
        cells = [artifact.kind, artifact.digest, artifact.label, will]
        cells += [f"{jobs[artifact.path]} of {len(work.jobs)}", _note(artifact, state)]
        table.add_row(*cells, style=None if will in ("reuse", "not needed") else "bold")
        becomes.setdefault(artifact.kind, []).append(f"to {will}" if needed else will)
    if artifacts:
        show(table)
    for kind, of_kind in becomes.items():
        print(f"{kind}: {counted(of_kind)}", flush=True)
    problems = [job for job in work.jobs if job.problem]
    for job in problems:
        which = f"job {job.number} ({pasted(job.overrides)}): " if work.cfg is not None else ""
        print(f"error: {which}{job.problem}", file=sys.stderr)
    return int(bool(problems))


def _note(artifact: Artifact, state: str) -> str:
    """Who makes it, or why it failed."""
    if state == "failed":
        return reason_of(artifact.status())
    held = maker_of(artifact.path) if state == "running" else None
    return str(held[0]) if held else ""
