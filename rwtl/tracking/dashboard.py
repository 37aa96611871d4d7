"""The W&B workspace of a sweep, built from what its runs have logged."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import wandb
import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws
from omegaconf import DictConfig
from wandb.errors import CommError
from wandb.sdk.lib.service.service_connection import WandbApiFailedError
from wandb_workspaces.reports.v2.interface import ParallelCoordinatesPlotColumn

from rwtl.config import flat, outputs_folder
from rwtl.errors import InputError
from rwtl.files import write_json
from rwtl.progress import say
from rwtl.tracking.loggers import check_loggers
from rwtl.tracking.read_back import WandbRun, read_runs
from rwtl.tracking.tracker import OF_TRAINING, named

STRATEGY = "transfer.name"
INTERVAL = "clips.dt"
MEASUREMENTS = (*named(OF_TRAINING).values(), *OF_TRAINING)  # the latter are of runs of earlier versions
# What is not asked of runs.
UNCOMPARED = ("artifact", "logger", "paths", "trainer", "engine", "datasets", "_wandb", "sweep", "slurm", "executor")
COLUMNS = 24  # of a section


def dashboard(cfg: DictConfig) -> Path:
    """Build the workspace of the configured sweep, publish it where W&B is online, and return its specification's file.

    Raises InputError where the sweep has no runs on disk, or W&B does not take it.
    """
    if cfg.sweep is None:
        raise InputError("sweep is not set; give it on the command line as sweep=...")
    sweep, stage, outputs = str(cfg.sweep), str(cfg.stage), outputs_folder(cfg)
    config = check_loggers(cfg).get("wandb")
    if config is None:
        raise InputError("a dashboard is W&B's; use logger=wandb")
    notes: list[str] = []
    known = read_runs(outputs / "wandb", notes)
    runs = [run for run in known if (run.group, run.job_type) == (sweep, stage)]
    if not runs:
        found = ", ".join(sorted({f"{run.group} ({run.job_type})" for run in known if run.group})) or "none"
        raise InputError(f"{outputs / 'wandb'} holds no {stage} of the sweep {sweep!r}; sweeps there: {found}")
    built = workspace(sweep, stage, runs, config.project, config.entity or "")
    file = outputs / "dashboard" / (f"{sweep}.json" if stage == "training" else f"{sweep}_{stage}.json")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, specification(built))
    for note in notes:
        say(f"note: {note}")
    print(f"{len(runs)} runs")
    if config.mode == "online":
        print(f"dashboard: {publish(built)}")
    else:
        runs_of = f"{shlex.quote(str(outputs / 'wandb'))}/*run-*"
        say(f"to publish it: wandb login; wandb sync {runs_of}; and this command with logger.wandb.mode=online")
    return file


def workspace(sweep: str, stage: str, runs: Sequence[WandbRun], project: str, entity: str) -> ws.Workspace:
    """Return the workspace of one stage of a sweep.

    Its sections: curves of the end-point error on every data set (of a stage without one, of its first metric), grouped
    by freezing strategy and frame interval together, and by each alone; a parallel plot of what differs between the
    runs, and the errors that it leads to; pictures; the other metrics of validations; loss, learning rate, gradient
    norm and throughput; the runs side by side.

    Args:
        sweep: the group of the runs in W&B.
        stage: their job type: `training` or `pretraining`.
        runs: of both, as read from disk: they say what was logged, and what differs between them.
        project, entity: where in W&B.
    """
    logged = list(dict.fromkeys(name for run in runs for name in run.history.columns if name != "step"))
    validated = [name for name in logged if name not in MEASUREMENTS]
    errors = [name for name in validated if name.rsplit("/", 1)[-1] == "epe"] or validated[:1]
    configs = [dict(flat(run.config)) for run in runs]
    groups = {
        word: key
        for word, key in (("freezing strategy", STRATEGY), ("frame interval", INTERVAL))
        if any(key in config for config in configs)
    }
    apart = [_curve(name, f"{name}, by {word}", key) for name in errors for word, key in groups.items()]
    columns = [ParallelCoordinatesPlotColumn(wr.Config(key), key) for key in differing(configs)]
    columns += [ParallelCoordinatesPlotColumn(wr.SummaryMetric(name), name) for name in errors]
    pictures = sorted({name for run in runs for name in run.media.name})
    sections = {
        "Errors": _in_rows([*map(_curve, errors), *apart]),
        "What differs, and what it leads to": _in_rows([wr.ParallelCoordinatesPlot(columns=columns)], COLUMNS, 9),
        "Pictures": _in_rows([wr.MediaBrowser(title=name, media_keys=[name]) for name in pictures], 12, 9),
        "Other metrics of validations": _in_rows([_curve(name) for name in validated if name not in errors]),
        "Training": _in_rows([_curve(name) for name in MEASUREMENTS if name in logged]),
        "Runs side by side": _in_rows([wr.RunComparer(diff_only="split")], COLUMNS, 12),
    }
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"Sweep {sweep}: {stage}",
        sections=[ws.Section(name=name, panels=panels, is_open=True) for name, panels in sections.items() if panels],
        settings=ws.WorkspaceSettings(x_axis="step", max_runs=100),
        runset_settings=ws.RunsetSettings(
            filters=[ws.Metric("Group") == sweep, ws.Metric("JobType") == stage],
            groupby=[ws.Config(key) for key in groups.values()],
        ),
    )


def specification(workspace: ws.Workspace) -> dict[str, Any]:
    """Return a workspace as W&B stores it."""
    return workspace._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)


def publish(workspace: ws.Workspace) -> str:
    """Save a workspace in W&B, of who is logged in where it names no entity, and return its address."""
    try:
        workspace.entity = workspace.entity or wandb.Api().default_entity
        return workspace.save().url
    except (CommError, WandbApiFailedError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"W&B does not take the dashboard ({reason}); it is on disk, try again later") from error


def differing(configs: Sequence[dict[str, Any]]) -> list[str]:
    """Return the keys, such as `clips.dt`, whose values differ between configurations, paths and machines apart."""
    keys = dict.fromkeys(key for config in configs for key in config if key.split(".")[0] not in UNCOMPARED)
    return [key for key in keys if len({repr(config.get(key)) for config in configs}) > 1]


def _curve(metric: str, title: str | None = None, group: str | None = None) -> wr.LinePlot:
    """A line for each group of runs, their mean, in a band from the smallest to the largest.

    The groups are those of the workspace, or of a key of the configuration.
    """
    return wr.LinePlot(
        title=title or metric,
        x="step",
        y=[metric],
        groupby=wr.Config(group) if group else None,
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
    )


def _in_rows(panels: list[Any], width: int = 8, height: int = 6) -> list[Any]:
    across = COLUMNS // width
    for place, panel in enumerate(panels):
        panel.layout = wr.Layout(x=place % across * width, y=place // across * height, w=width, h=height)
    return panels
