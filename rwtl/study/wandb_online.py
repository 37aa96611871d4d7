"""Runs of Weights & Biases read back from its server."""

from pathlib import Path

import wandb
from wandb.errors import CommError, UsageError

from rwtl.errors import InputError
from rwtl.study.wandb_runs import WandbRun, history_of

PREFIX = "wandb:"


def is_online(source: str) -> bool:
    """Return whether a source of runs is a project on W&B's server: `wandb:entity/project`."""
    return source.startswith(PREFIX)


def online_runs(source: str) -> list[WandbRun]:
    """Return the trainings of a project on the server; pictures, and what artifacts they use, stay there.

    Raises InputError where nobody is logged in, or the server does not know the project or cannot be reached.
    """
    project = source.removeprefix(PREFIX)
    try:
        api = wandb.Api()
        return [_run(run) for run in api.runs(project, filters={"jobType": "training"}) if run.job_type == "training"]
    except (CommError, UsageError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"runs: {source} cannot be read ({reason}); run `wandb login`, and give wandb:entity/project"
        ) from error


def _run(run: wandb.apis.public.Run) -> WandbRun:
    history = history_of([row for row in run.scan_history() if row.get("step") is not None])
    nothing = history_of([])
    group = getattr(run, "group", None)
    return WandbRun(
        run.id,
        run.name,
        group,
        run.job_type,
        list(run.tags),
        dict(run.config),
        {},
        history,
        nothing,
        [],
        [],
        list[Path](),
        None,
    )
