"""One self-contained HTML page of a comparison: it opens without a network."""

import io
import json
import shlex
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf

from rwtl.models.checkpoints import load_raft
from rwtl.models.padding import padding_of
from rwtl.study import plots, recordings, stages
from rwtl.study.artifact import provenance
from rwtl.study.plans import EstimationPlan
from rwtl.study.pretraining import PREDICTIONS_FIGURE
from rwtl.study.runs import Run, Source
from rwtl.study.tables import HEADINGS, mean_and_deviation, steps_reached
from rwtl.training.metrics import ACCURACY
from rwtl.waves import open_recording
from rwtl.waves.page import data_uri

SHOWN_SCENES = 3


def write_report(
    file: Path,
    cfg: DictConfig,
    sources: list[Source],
    runs: list[Run],
    curves: pd.DataFrame,
    errors: pd.DataFrame,
    table: pd.DataFrame,
) -> None:
    """Write the page. The tables are those of `rwtl.study.gather`."""
    seeds = list(dict.fromkeys(run.seed for run in runs))
    first_runs = [run for run in runs if run.seed == seeds[0]]
    threshold = float(table.threshold_px.iloc[0])
    images = {
        "curves": _embed(plots.learning_curves(curves, threshold)),
        "errors": _embed(plots.final_errors(errors)),
        "flows": _embed(plots.flow_fields(*_flows(cfg, first_runs))),
    }
    environment = Environment(loader=PackageLoader("rwtl.study", "."), autoescape=True, undefined=StrictUndefined)
    baseline = recordings.setting(cfg, "comparison")["baseline"]
    page = environment.get_template("report.html.j2").render(
        rows=list(dict.fromkeys(table.row)),
        seeds=seeds,
        baseline=baseline,
        differ=any(table.differs_in),
        verdict=verdict(table, baseline),
        headings=[*HEADINGS.values(), f"steps to {threshold:.2f} px"],
        tables=[
            {"dataset": name, "lines": _lines(of_name), "no_motion": f"{of_name.no_motion.iloc[0]:.2f}"}
            for name, of_name in table.groupby("dataset", sort=False)
        ],
        images=images,
        recordings=[_recording(path, names) for path, names in users_of_recordings(sources).items()],
        sources=[_source(source) for source in sources],
        transfers={run.row: json.loads((run.training.path / stages.TRANSFER).read_text()) for run in first_runs},
        command=shlex.join(["python", *sys.argv]),
        provenance=provenance(),
        artifacts={f"recording for {', '.join(names)}": path for path, names in users_of_recordings(sources).items()}
        | {f"pre-training of {source.name}": source.pretraining.path for source in sources}
        | {f"training {run.row} seed {run.seed}": run.training.path for run in runs},
        configuration=OmegaConf.to_yaml(cfg),
        **{name: recordings.setting(cfg, name) for name in ("training", "flow_data")},
    )
    file.write_text(page)


def verdict(table: pd.DataFrame, baseline: str) -> str:
    """Say in one sentence which rows have a lower mean EPE than the baseline, and whether by more than the spread."""
    sentences = []
    for dataset, lines in table.groupby("dataset", sort=False):
        base = lines[lines.row == baseline].iloc[0]
        lower = lines[lines.epe_mean < base.epe_mean]
        clear = lower[base.epe_mean - lower.epe_mean > np.hypot(lower.epe_sd, base.epe_sd)]
        names = ", ".join(f"{row}{' (by more than the spread)' if row in set(clear.row) else ''}" for row in lower.row)
        sentences.append(f"On {dataset}, {names or 'no condition'} had a lower mean EPE than {baseline}.")
    return " ".join(sentences)


def _lines(table: pd.DataFrame) -> list[dict]:
    lines = []
    for _, line in table.iterrows():
        cells = [mean_and_deviation(line[f"{metric}_mean"], line[f"{metric}_sd"]) for metric in ACCURACY]
        lines.append({"name": line.row, "differs_in": line.differs_in, "cells": [*cells, steps_reached(line)]})
    return lines


def users_of_recordings(sources: list[Source]) -> dict[Path, list[str]]:
    """Return the folder of every recording, once, with the names of the sources that are made from it."""
    users: dict[Path, list[str]] = {}
    for source in sources:
        for made in source.recordings:
            users.setdefault(made.path, []).append(source.name)
    return users


def _recording(path: Path, names: list[str]) -> dict[str, Any]:
    opened = open_recording(path / recordings.RECORDING)
    rows, columns = opened.shape
    return {
        "users": ", ".join(names),
        "size": f"{rows}×{columns} cells, {opened.valid_frames} frames, one every {opened.frame_interval:g} s",
        "mosaic": data_uri((path / recordings.MOSAIC).read_bytes(), "image/png"),
        "movie": data_uri((path / recordings.MOVIE).read_bytes(), "image/gif"),
    }


def _source(source: Source) -> dict[str, Any]:
    """What the page shows of a pre-training: skill and predicted frames, or else the validation curve."""
    skill = stages.skill_of(source.pretraining)
    shown = {"name": source.name, "verdict": stages.against_baselines(source.pretraining)}
    if skill is None:
        curve = plots.validation_curve(stages.curve(source.pretraining))
        return shown | {"headings": [], "lines": [], "figure": _embed(curve), "text": "validation during pre-training"}
    lines = [[line.predictor, *(_number(value) for value in line.drop("predictor"))] for _, line in skill.iterrows()]
    figure = data_uri((source.pretraining.path / PREDICTIONS_FIGURE).read_bytes(), "image/png")
    text = "predicted last frames of validation clips, spread evenly over the validation part"
    return shown | {"headings": list(skill.columns), "lines": lines, "figure": figure, "text": text}


def _number(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.4g}"


def _flows(cfg: DictConfig, runs: list[Run]) -> tuple[list, dict]:
    """Return pairs of the evaluation, from each of its data sets in turn, and every run's flow on them."""
    plan = EstimationPlan.of(cfg, "evaluation")
    turns = ((name, data, k) for k in range(SHOWN_SCENES) for name, data in plan.datasets.items() if k < len(data))
    shown = sorted(islice(turns, SHOWN_SCENES), key=lambda turn: list(plan.datasets).index(turn[0]))
    samples = [(f"{name}: {data.names[k]}", data[k], padding_of(data)) for name, data, k in shown]
    predictions = {}
    for run in runs:
        model = load_raft(run.training.path / stages.MODEL)
        flows = [
            model.estimate(s.image1[None], s.image2[None], plan.config.iterations, None, p)[0] for _, s, p in samples
        ]
        predictions[run.row] = [flow[0].numpy() for flow in flows]
    known = [s.flow.masked_fill(s.valid < 0.5, float("nan")) for _, s, _ in samples]
    shown_scenes = [(name, s.image1.numpy(), f.numpy()) for (name, s, _), f in zip(samples, known, strict=True)]
    return shown_scenes, predictions


def _embed(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return data_uri(buffer.getvalue(), "image/png")
