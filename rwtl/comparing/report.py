"""One self-contained HTML page of a comparison: it opens without a network, and its curves answer to the pointer."""

import base64
import gzip
import shlex
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from omegaconf import DictConfig, OmegaConf
from plotly.offline import get_plotlyjs

from rwtl import files, program
from rwtl.comparing import figures, pictures
from rwtl.comparing.analysis import Comparison, verdicts
from rwtl.comparing.measures import no_motion
from rwtl.comparing.runs import config_of, parents_of
from rwtl.comparing.tables import legend, shown_tables
from rwtl.errors import InputError
from rwtl.learning.transfer.report import TransferReport
from rwtl.pipeline.flow_training import training
from rwtl.pipeline.provenance import provenance
from rwtl.pipeline.status import read_status


def write_report(file: Path, cfg: DictConfig, compared: Comparison) -> None:
    """Write the page of a comparison; what cannot be shown is said on it."""
    missing: list[str] = []
    sources = pictures.sources(compared)
    users: dict[Path, list[str]] = {}
    for source, names in sources.items():
        for recording in parents_of(source).values():
            users.setdefault(recording, []).extend(names)
    recordings = [
        _or_say(partial(pictures.recording_of, folder, names), f"pictures of {folder}", missing)
        for folder, names in users.items()
    ]
    drawn = _figures(compared)
    trained = [run.folder for run in compared.runs.values() if run.folder is not None]
    firsts = {cell.name: run.folder for cell, run in compared.firsts.items() if run.folder is not None}
    transfers = {
        name: _or_say(
            partial(files.value_of, folder / files.TRANSFER, TransferReport),
            f"numbers of what {name} transferred",
            missing,
        )
        for name, folder in firsts.items()
    }
    shown = [
        _or_say(partial(pictures.source_of, *source), f"pictures of {source[0]}", missing) for source in sources.items()
    ]
    seconds = np.nansum([run.seconds for run in compared.runs.values()])
    time = f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.0f} minutes" if seconds else ""
    environment = Environment(loader=PackageLoader("rwtl.comparing", "."), autoescape=True, undefined=StrictUndefined)
    page = environment.get_template("report.html.j2").render(
        compared=compared,
        config=next(iter(compared.runs.values())).config,
        time=time,
        verdicts=verdicts(compared),
        tables=shown_tables(compared),
        legend=legend(compared),
        no_motion=no_motion(compared.runs),
        plots={name: figure.to_json() for name, figure in drawn.items()},
        plotly=_plotly() if drawn else "",
        scenes=_or_say(partial(pictures.scenes, compared), "flow fields", missing) or [],
        recordings=list(filter(None, recordings)),
        sources=list(filter(None, shown)),
        motion=_or_say(partial(pictures.motion, compared, sources), "motion statistics", missing),
        transfers={name: transfer for name, transfer in transfers.items() if transfer is not None},
        command=program.command_line(program.command()),
        commands=_commands(compared),
        provenance=provenance(),
        commits=sorted({(read_status(folder) or {}).get("git_commit") or "unknown" for folder in trained}),
        configuration=OmegaConf.to_yaml(cfg),
        missing=missing,
    )
    file.write_text(page, encoding="utf-8")


def _or_say(make: Callable[[], Any], what: str, missing: list[str]) -> Any:
    try:
        return make()
    except InputError as error:
        missing.append(f"There are no {what}: {error}.")


def _figures(compared: Comparison) -> dict[str, go.Figure]:
    """The interactive figures by the name of their place on the page."""
    datasets = compared.datasets
    drawn = {"curves": figures.learning_curves(compared), "steps": figures.steps_over_thresholds(compared)}
    if datasets:
        drawn["heat_map"] = figures.heat_map(compared, datasets[0])
    drawn |= {f"differences {name}": figures.differences(compared, name) for name in datasets}
    drawn |= {f"data {name}": figures.data_efficiency(compared, name) for name in datasets}
    return {name: figure for name, figure in drawn.items() if figure is not None}


@cache
def _plotly() -> str:
    """Plotly's program, packed: a page of 2 MB in place of 5; browsers unpack it themselves."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()


def _commands(compared: Comparison) -> list[dict[str, str]]:
    """How each condition was asked for, the command that asks for its first run again, and whether that is the same;
    and where its runs are."""
    found = []
    for cell in compared.all_cells:
        runs = compared.runs_of(cell)
        folders = [run.folder for run in runs if run.folder is not None]
        recorded = {program.command_line((read_status(folder) or {}).get("command", [])) for folder in folders}
        command, said = "", "Only W&B tells of these runs; their configuration is there."
        if folders:
            command, said = again(folders[0])
        artifacts = ", ".join(str(run.folder or f"W&B {run.id}") for run in runs)
        about = {"condition": cell.title, "recorded": "\n".join(sorted(recorded)), "artifacts": artifacts}
        found.append(about | {"command": command, "checked": said})
    return found


def again(folder: Path) -> tuple[str, str]:
    """Return the command that asks for a training by the configuration that it keeps, and whether that is the same."""
    settings = ["hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=none"]
    words = ["--config-path", str(folder.resolve()), "--config-name", "config", *settings]
    try:
        same = training(config_of(folder)).digest == folder.name
        said = "It asks for the same artifact." if same else "It asks for another artifact: code or data have changed."
    except InputError as error:
        said = f"It was not checked: {error}."
    return f"{program.call_of('train')} {shlex.join(words)}", said
