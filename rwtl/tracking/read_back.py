"""Runs of Weights & Biases read back, from their folders without an account, or from its server."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import wandb
from wandb.errors import CommError, UsageError

from rwtl.errors import Damaged, InputError
from rwtl.learning.metrics import ACCURACY
from rwtl.tracking.tracker import named

MEDIA = "._type"  # ends the name of the first of the values that describe a picture or a text
PREFIX = "wandb:"
MOST = 10_000  # validations of a run


@dataclass(frozen=True)
class WandbRun:
    """A run, put together from the pieces that the jobs left that worked on it.

    Args:
        id: `kind-digest` of the artifact.
        name, group, job_type, tags, config, summary: W&B's.
        history: one row for each `step`, one column for each number that was logged.
        media: columns `step`, `name` and `path`, of pictures and texts.
        inputs, outputs: names of the artifacts that it uses and makes.
        pieces: the run's folders, in the order in which they were written.
        exit_code: of the last piece: 0, or 1 where it failed or was stopped; None where it was killed or still runs.
    """

    id: str
    name: str
    group: str | None
    job_type: str
    tags: list[str]
    config: dict[str, Any]
    summary: dict[str, Any]
    history: pd.DataFrame
    media: pd.DataFrame
    inputs: list[str]
    outputs: list[str]
    pieces: list[Path]
    exit_code: int | None


def read_runs(folder: Path, notes: list[str]) -> list[WandbRun]:
    """Return the runs in a folder, by id: `outputs/wandb`.

    Where a job went on with what another left, each piece counts up to the first step of the next one: what a job that
    was killed had logged after its last checkpoint is logged again.

    Args:
        folder: of the runs' folders.
        notes: to which a line is added for each run that is left out, for a piece cannot be read, with the reason.
    """
    files: dict[str, list[Path]] = {}
    for file in sorted(folder.glob("*run-*/run-*.wandb")):
        files.setdefault(file.stem.removeprefix("run-"), []).append(file)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = dict(zip(files, pool.map(_read, files, files.values()), strict=True))
    notes += [f"W&B's run {id} is left out: {run}" for id, run in read.items() if isinstance(run, Damaged)]
    return [run for _, run in sorted(read.items()) if isinstance(run, WandbRun)]


def _read(id: str, files: Sequence[Path]) -> WandbRun | Damaged | None:
    """Return the run of an id, why it cannot be read, or nothing where its files hold nothing of it yet."""
    try:
        pieces = [(file.parent, records) for file in files if _of(records := _records(file), "run")]
        pieces.sort(key=lambda piece: _of(piece[1], "run")[0]["start_time"])
        return _run(pieces, id) if pieces else None
    except Damaged as error:
        return error
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # what another program has logged
        return Damaged(f"{files[0].parent} holds what rwtl does not log ({type(error).__name__}: {error})")


def by_own_names(history: pd.DataFrame) -> pd.DataFrame:
    """Return a history whose numbers have the names of the artifact's files, `epe` for `val/epe`, which is what runs of
    earlier versions call them in W&B too."""
    table = history[["step"]].copy()
    for column in history.columns.drop("step"):
        name = column.removeprefix("train/").removeprefix("val/")
        table[name] = table[name].combine_first(history[column]) if name in table else history[column]
    return table


def histories(runs: Iterable[WandbRun], keys: Sequence[str] = ()) -> pd.DataFrame:
    """Return the histories of runs below one another.

    Args:
        runs: of which.
        keys: of the configuration, such as `clips.dt`, to be columns too; nothing where a run has no such key.

    The columns are `run` (the id), `name`, `group`, the keys, `step`, and the numbers that were logged.
    """
    tables = []
    for run in runs:
        about = {"run": run.id, "name": run.name, "group": run.group} | {key: _at(run.config, key) for key in keys}
        table = run.history.copy()
        for position, (column, value) in enumerate(about.items()):
            table.insert(position, column, [value] * len(table))
        tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["run", "name", "group", "step"])


def _records(file: Path) -> list[dict[str, Any]]:
    """Return what a run's file holds; one that is still written, or whose job was killed, up to what has arrived."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", str(file), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]  # after a traceback too
        raise Damaged(f"{file} cannot be read by `wandb leet inspect`: {reason}; remove its folder")
    return [json.loads(line) for line in done.stdout.splitlines()]


def _of(records: Iterable[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [record[kind] for record in records if record["type"] == kind]


def _run(pieces: list[tuple[Path, list[dict[str, Any]]]], id: str) -> WandbRun:
    last = _of(pieces[-1][1], "run")[0]
    artifacts = [artifact for _, records in pieces for artifact in _of(records, "artifact")]
    inputs = {artifact["name"] for artifact in artifacts if artifact.get("use_after_commit")}
    outputs = {artifact["name"] for artifact in artifacts if not artifact.get("use_after_commit")}
    summary: dict[str, Any] = {}
    for _, records in pieces:
        for update in _of(records, "summary"):
            summary |= update.get("update", {})
    rows = _merged([(folder, [entry["item"] for entry in _of(records, "history")]) for folder, records in pieces])
    ended = _of(pieces[-1][1], "exit")
    return WandbRun(
        id,
        last.get("display_name", id),
        last.get("run_group"),
        last.get("job_type", ""),
        last.get("tags", []),
        last.get("config", {}).get("update", {}),
        {key: value for key, value in summary.items() if not key.startswith("_")},
        history_of([item for _, item in rows]),
        _media(rows),
        sorted(inputs),
        sorted(outputs),
        [folder for folder, _ in pieces],
        ended[-1].get("exit_code", 0) if ended else None,
    )


def _merged(pieces: list[tuple[Path, list[dict[str, Any]]]]) -> list[tuple[Path, dict[str, Any]]]:
    """Return the rows that count, each with the folder of its piece: a later piece wins from its first step on."""
    rows: list[tuple[Path, dict[str, Any]]] = []
    for folder, items in pieces:
        with_step = [(folder, item) for item in items if "step" in item]
        if with_step:
            first = min(item["step"] for _, item in with_step)
            rows = [row for row in rows if row[1]["step"] < first] + with_step
    return rows


def history_of(items: list[dict[str, Any]]) -> pd.DataFrame:
    """One row for each step: numbers that were logged one after another at the same step are side by side."""
    by_step: dict[int, dict[str, float]] = {}
    for item in items:
        media = tuple(key.removesuffix(MEDIA) + "." for key in item if key.endswith(MEDIA))
        numbers = {key: value for key, value in item.items() if not key.startswith(("_", *media)) and key != "step"}
        by_step.setdefault(int(item["step"]), {}).update(numbers)
    table = pd.DataFrame([{"step": step, **by_step[step]} for step in sorted(by_step) if by_step[step]])
    table = table.replace({"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf})  # W&B writes them as texts
    return table.apply(pd.to_numeric) if len(table) else pd.DataFrame(columns=["step"])


def _media(rows: list[tuple[Path, dict[str, Any]]]) -> pd.DataFrame:
    names = [(folder, item, key.removesuffix(MEDIA)) for folder, item in rows for key in item if key.endswith(MEDIA)]
    table = [(int(item["step"]), name, folder / "files" / item[f"{name}.path"]) for folder, item, name in names]
    return pd.DataFrame(table, columns=["step", "name", "path"])


def _at(config: dict[str, Any], key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


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
        found = api.runs(project, filters={"jobType": "training"})
        return [_online_run(run) for run in found if run.job_type == "training"]
    except (CommError, UsageError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"runs: {source} cannot be read ({reason}); run `wandb login`, and give wandb:entity/project"
        ) from error


def _online_run(run: "wandb.apis.public.Run") -> WandbRun:
    # As many rows hold all these keys as there are validations, so that sampling leaves none out. Errors by speed may
    # be no number, where nothing moves so fast.
    names = [*ACCURACY, "fl_all"]
    of_versions = (names, [*named(names).values()])
    rows = [row for keys in of_versions for row in run.history(samples=MOST, keys=["step", *keys], pandas=False)]
    history, nothing = history_of(rows), history_of([])
    about = (run.id, run.name, run.group, run.job_type, list(run.tags), dict(run.config), {})
    return WandbRun(*about, history, nothing, [], [], [], None)
