"""Runs of Weights & Biases read back from its server."""

import wandb
from wandb.errors import CommError, UsageError

from rwtl.errors import InputError
from rwtl.study.wandb_runs import WandbRun, history_of
from rwtl.training.metrics import ACCURACY

PREFIX = "wandb:"
MOST = 10_000  # validations of a run


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
    # As many rows hold all these keys as there are validations, so that sampling leaves none out. Errors by speed may
    # be no number, where nothing moves so fast.
    rows = run.history(samples=MOST, keys=["step", *ACCURACY, "fl_all"], pandas=False)
    history, nothing = history_of(rows), history_of([])
    about = (run.id, run.name, run.group, run.job_type, list(run.tags), dict(run.config), {})
    return WandbRun(*about, history, nothing, [], [], [], None)
