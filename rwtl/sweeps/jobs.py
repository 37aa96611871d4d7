"""Jobs of a sweep: what each would make, the file that a sweep keeps of them, and the table that it ends with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel
from rich.table import Column, Table

from rwtl.config import outputs_folder, told
from rwtl.errors import InputError
from rwtl.files import read_checked, write_json
from rwtl.keys import parsed
from rwtl.overrides import pasted
from rwtl.pipeline.artifact import Artifact
from rwtl.pipeline.claim import Holder, this_process, writable
from rwtl.pipeline.known import check_sections, without_effect
from rwtl.pipeline.status import FORMAT, Digest
from rwtl.plugins import load_plugins
from rwtl.progress import say
from rwtl.sweeps.scheduler import SUCCEEDED, Outcomes, found
from rwtl.sweeps.view import cells_of, counted, short
from rwtl.terminal import show

SWEEPS = "sweeps"
FILE = "sweep.json"
Main = Callable[[DictConfig], Artifact | None]


@dataclass(frozen=True)
class Job:
    """One configuration of a program.

    Args:
        number: its place in the sweep; 0 of a single run.
        overrides: all that the command line and the sweep set.
        artifact: what it makes; None where that cannot be said.
        problem: why not; empty where it can.
    """

    number: int
    overrides: list[str]
    artifact: Artifact | None = None
    problem: str = ""


class _Listed(BaseModel):
    """A job as a sweep's file lists it."""

    number: int
    overrides: list[str]
    problem: str
    kind: Literal[tuple(FORMAT)] | None
    digest: Digest | None


class _Sweep(BaseModel):
    """A sweep's file."""

    app: str
    process: Holder
    ended: bool
    jobs: list[_Listed]


class _Earlier(BaseModel):
    """A job's file, in a sweep of an earlier version."""

    number: int
    overrides: list[str]
    artifacts: list[str]


def planned(main: Main, number: int, overrides: list[str], cfg: DictConfig) -> Job:
    """Return the job of a configuration, planned by what returns its artifact."""
    try:
        load_plugins(cfg)
        check_sections(cfg)
        return Job(number, overrides, main(cfg))
    except InputError as error:
        return Job(number, overrides, problem=str(error))
    except OmegaConfBaseException as error:
        return Job(number, overrides, problem=str(told(error)))


def note_idle(words: Sequence[str], roots: Sequence[Artifact], cfg: DictConfig) -> None:
    """Say which overrides of a command line play no part in what it makes, or reuses."""
    kinds = {artifact.kind for root in roots for artifact in root.ancestors()}
    keys = list(dict.fromkeys(parsed(word).key_or_group for word in words))
    if roots and (idle := without_effect(keys, kinds, cfg)):
        has, it = ("have", "them") if len(idle) > 1 else ("has", "it")
        said = f"note: {', '.join(idle)} {has} no effect: nothing that is made or used here reads {it}"
        say(said)


def sweep_folder(cfg: DictConfig) -> Path:
    """Return the folder of the sweep that `cfg.sweep` names."""
    return outputs_folder(cfg) / SWEEPS / cfg.sweep


def write_sweep(folder: Path, app: str, jobs: Sequence[Job], ended: bool) -> None:
    """Write the file of a sweep, in one step: its jobs with the kind and digest of what they make.

    Raises InputError where the folder cannot be written, or a living process runs other jobs as this sweep.
    """
    listed = [
        {"number": job.number, "overrides": job.overrides, "problem": job.problem}
        | {key: job.artifact and getattr(job.artifact, key) for key in ("kind", "digest")}
        for job in jobs
    ]
    content = {"app": app, "process": asdict(this_process()), "ended": ended, "jobs": listed}
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        holder, before = _read(folder)
        if holder not in (None, this_process()) and holder.dead() is False:
            if ended:
                return  # the same line runs there, and says when it has ended
            if before != listed:
                raise InputError(
                    f"sweep {folder.name} is being run by {holder}, with other jobs: wait for it, or give this one "
                    "another name: sweep=..."
                )
        write_json(folder / FILE, content)


def _read(folder: Path) -> tuple[Holder | None, list[dict[str, Any]] | None]:
    """Who runs a sweep, None where it has ended, and its jobs as they are listed; None where there is no file."""
    read = read_checked(folder / FILE, _Sweep, "remove it, and the sweep's line writes it anew")
    if read is None:
        return None, None
    return None if read.ended else read.process, [job.model_dump() for job in read.jobs]


def read_jobs(folder: Path) -> list[Job]:
    """Return the jobs of a sweep, in order, with artifacts that can be read but not made: none where there is no sweep.

    Sweeps of earlier versions have a file for each job that lists folders. A damaged file is an InputError.
    """
    _, found = _read(folder)
    outputs = folder.parents[1]
    if found is not None:
        paths = [outputs / job["kind"] / job["digest"] if job["digest"] else None for job in found]
        return [
            Job(job["number"], job["overrides"], path and Artifact.at(path), job["problem"])
            for job, path in zip(found, paths, strict=True)
        ]
    files = [file for file in folder.glob("*.json") if file.stem.isdigit()]
    earlier = [read_checked(file, _Earlier, "remove it, and run the sweep's line again") for file in files]
    return [
        Job(job.number, job.overrides, Artifact.at(Path(job.artifacts[-1])) if job.artifacts else None)
        for job in sorted(filter(None, earlier), key=lambda job: job.number)
    ]


def print_jobs(name: str, jobs: Sequence[Job], outcomes: Outcomes, values: Mapping[int, float] | None = None) -> bool:
    """Print how the jobs of a sweep ended, one line for each, and how many of each state there are.

    Of several jobs that make the same, the first made it, and the others reused it.

    Args:
        name: the sweep's.
        jobs: all.
        outcomes: of their artifacts.
        values: what a search minimises, by number; None where nothing is searched.

    Returns whether all succeeded.
    """
    columns = [Column("job", justify="right"), "differs in", Column("state", no_wrap=True)]
    columns += [Column("value", justify="right")] if values is not None else []
    columns += ["reason", Column("time", justify="right", no_wrap=True), Column("log or result", overflow="fold")]
    table = Table(*columns, title=f"sweep {name}")
    shared = set.intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set()
    seen, states = set(), []
    for job in jobs:
        path = job.artifact and job.artifact.path
        if path is not None and path not in outcomes:
            outcomes[path] = found(job.artifact)
        ended = ("failed", short(job.problem), "", "") if path is None else cells_of(outcomes[path])
        state, reason, took, where = ended
        if state == "done" and path in seen:
            state, took = "reused", ""
        seen.add(path)
        states.append(state)
        value = [f"{values[job.number]:.4g}" if job.number in values else "-"] if values is not None else []
        differs = pasted(each for each in job.overrides if each not in shared)
        cells = [str(job.number), differs, state, *value, reason, took, where]
        table.add_row(*cells, style=None if state in SUCCEEDED else "bold")
    show(table)
    print(counted(states), flush=True)
    return all(state in SUCCEEDED for state in states)
