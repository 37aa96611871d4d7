"""One self-contained HTML page of a comparison: it opens without a network."""

import io
import json
import shlex
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf

from rwtl.models.checkpoints import load_raft
from rwtl.models.padding import padding_of
from rwtl.study import plots, recordings, stages
from rwtl.study.artifact import Artifact, provenance
from rwtl.study.plans import EstimationPlan
from rwtl.study.runs import Run
from rwtl.study.tables import HEADINGS, mean_and_deviation, steps_reached
from rwtl.training.metrics import ACCURACY
from rwtl.waves.page import data_uri

SHOWN_SCENES = 3


def write_report(
    file: Path,
    cfg: DictConfig,
    recording: Artifact,
    pretraining: Artifact,
    runs: list[Run],
    curves: pd.DataFrame,
    errors: pd.DataFrame,
    table: pd.DataFrame,
) -> None:
    """Write the page. The tables are those of `rwtl.study.comparison`."""
    seeds = list(dict.fromkeys(run.seed for run in runs))
    first_runs = [run for run in runs if run.seed == seeds[0]]
    threshold = float(table.threshold_px.iloc[0])
    predictions = np.load(pretraining.path / stages.PREDICTIONS)
    clips = recordings.setting(cfg, "clips")
    images = {
        "curves": _embed(plots.learning_curves(curves, threshold)),
        "errors": _embed(plots.final_errors(errors)),
        "next_frames": _embed(plots.next_frames(predictions["clips"], predictions["predicted"], clips["dt"])),
        "flows": _embed(plots.flow_fields(*_flows(cfg, first_runs))),
        "mosaic": data_uri((recording.path / recordings.MOSAIC).read_bytes(), "image/png"),
        "movie": data_uri((recording.path / recordings.MOVIE).read_bytes(), "image/gif"),
    }
    environment = Environment(loader=PackageLoader("rwtl.study", "."), autoescape=True, undefined=StrictUndefined)
    baseline = recordings.setting(cfg, "comparison")["baseline"]
    page = environment.get_template("report.html.j2").render(
        rows=list(dict.fromkeys(table.row)),
        seeds=seeds,
        baseline=baseline,
        verdict=verdict(table, baseline),
        headings=[*HEADINGS.values(), f"steps to {threshold:.2f} px"],
        tables=[
            {"dataset": name, "lines": _lines(of_name), "no_motion": f"{of_name.no_motion.iloc[0]:.2f}"}
            for name, of_name in table.groupby("dataset", sort=False)
        ],
        images=images,
        baselines=stages.against_baselines(pretraining),
        transfers={run.row: json.loads((run.training.path / stages.TRANSFER).read_text()) for run in first_runs},
        command=shlex.join(["python", *sys.argv]),
        provenance=provenance(),
        artifacts={"recording": recording.path, "pre-training": pretraining.path}
        | {f"training {run.row} seed {run.seed}": run.training.path for run in runs},
        configuration=OmegaConf.to_yaml(cfg),
        **{name: recordings.setting(cfg, name) for name in ("recording", "training", "flow_data")},
        clips=clips,
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
        lines.append({"name": line.row, "cells": [*cells, steps_reached(line)]})
    return lines


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
