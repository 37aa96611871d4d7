"""The report's pictures: flow fields with error maps on the same scenes for every condition, waves, and predictions."""

import io
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image

from rwtl import files
from rwtl.clips.motion import flow_motion, motion_table, wave_motion
from rwtl.comparing.analysis import Comparison
from rwtl.comparing.runs import config_of, parents_of
from rwtl.errors import Damaged, InputError
from rwtl.flow.catalogue import catalogue, open_with_flow
from rwtl.flow.colour_wheel import NOT_FINITE, flow_to_colour
from rwtl.flow.displacements import histogram_figure
from rwtl.learning.transfer.config import PRETRAINING
from rwtl.models.checkpoints import load_raft
from rwtl.pipeline.evaluation import EstimationPlan
from rwtl.pipeline.pretraining import PretrainingArtifact
from rwtl.terminal import number
from rwtl.tracking import pictures as plots
from rwtl.waves import open_recording
from rwtl.waves.measure.statistics import wave_statistics
from rwtl.waves.page.page import data_uri

SCENES = 3
WIDEST = 256  # px, of a picture of a flow
PAIRS = 200  # of a data set, for its motion
ERRORS = "magma"


def scenes(compared: Comparison) -> list[dict[str, Any]]:
    """Return what the page shows of pairs of the evaluation, from each of its data sets in turn: first frame and true
    flow, and by every condition's first seed the estimated flow and its error map.

    Raises InputError where no run was evaluated here, or a data set is not there any more.
    """
    evaluated = [run for run in compared.firsts.values() if run.evaluations]
    if not evaluated:
        raise InputError("no run has an evaluation in the outputs")
    cfg = config_of(evaluated[0].evaluations[0])
    plan = EstimationPlan.of(cfg, "evaluation")
    turns = ((name, data, k) for k in range(SCENES) for name, data in plan.datasets.items() if k < len(data))
    chosen = sorted(islice(turns, SCENES), key=lambda turn: list(plan.datasets).index(turn[0]))
    trained = {cell.name: run.folder for cell, run in compared.firsts.items() if run.folder is not None}
    models = {name: load_raft(folder / files.MODEL) for name, folder in trained.items()}
    return [_scene(f"{name}: {data.names[k]}", data, k, models, plan.config.iterations) for name, data, k in chosen]


def _scene(name: str, data: Any, k: int, models: dict[str, Any], iterations: int | None) -> dict[str, Any]:
    sample, padding = data[k], data.padding
    flow = sample.flow.masked_fill(sample.valid < 0.5, float("nan")).numpy()
    known = sample.valid.numpy() >= 0.5
    longest = float(np.hypot(*flow)[known].max(initial=0.0)) or 1.0
    scale = 0.5 * longest
    first = _png(sample.image1.numpy().transpose(1, 2, 0).astype(np.uint8))
    given = [(first, "first frame"), (_png(flow_to_colour(flow, longest)), "true flow")]
    estimates = {}
    for condition, model in models.items():
        estimate = model.estimate(sample.image1[None], sample.image2[None], iterations, None, padding)
        predicted = estimate.flow[0].float().numpy()
        error = np.hypot(*(predicted - flow))
        picture = colormaps[ERRORS](np.where(known & np.isfinite(error), error / scale, 0).clip(0, 1), bytes=True)[
            ..., :3
        ]
        picture[known & ~np.isfinite(error)] = NOT_FINITE
        flow_tile = (_png(flow_to_colour(predicted, longest)), f"EPE {error[known].mean():.2f} px")
        estimates[condition] = [flow_tile, (_png(picture), "error")]
    text = f"Full colour: {longest:.1f} px; error: black is 0, pale is {scale:.1f} px or more, green is not finite."
    return {"name": name, "given": given, "estimates": estimates, "text": text}


def _png(picture: UInt8[np.ndarray, "h w 3"]) -> str:
    image = Image.fromarray(picture)
    if image.width > WIDEST:
        image = image.resize((WIDEST, round(image.height * WIDEST / image.width)), Image.Resampling.BOX)
    return _address(image)


def sources(compared: Comparison) -> dict[Path, list[str]]:
    """Return the folders of the pre-trainings of every condition's first seed, with the names of those conditions."""
    found: dict[Path, list[str]] = {}
    for cell, run in compared.firsts.items():
        if run.folder is not None and run.config["transfer"].get("source") == PRETRAINING:
            folder = parents_of(run.folder)[PRETRAINING]
            if (folder / files.MODEL).is_file():
                found.setdefault(folder, []).append(cell.name)
    return found


def recording_of(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Return what the page shows of a recording: for whom it is, its size, mosaic and movie."""
    opened = open_recording(folder / files.RECORDING)
    rows, columns = opened.shape
    return {
        "users": ", ".join(names),
        "size": f"{rows}×{columns} cells, {opened.valid_frames} frames, one every {opened.frame_interval:g} s",
        "mosaic": _lighter(files.verified(folder / files.MOSAIC)),
        "movie": data_uri(files.verified(folder / files.MOVIE).read_bytes(), "image/gif"),
    }


def source_of(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Return what the page shows of a pre-training: skill and predicted frames, or else the validation curve."""
    artifact = PretrainingArtifact.at(folder)
    skill = artifact.skill
    shown = {"name": ", ".join(names), "verdict": artifact.verdict}
    if skill is None:
        figure = embed(plots.validation_curve(artifact.curve))
        return shown | {"headings": [], "lines": [], "figure": figure, "text": "validation during pre-training"}
    lines = [
        [line.predictor, *(number(value, ".4g") for value in line.drop("predictor"))] for _, line in skill.iterrows()
    ]
    figure = _lighter(files.verified(folder / files.PREDICTIONS_FIGURE))
    text = "predicted last frames of validation clips, spread evenly over the validation part"
    return shown | {"headings": list(skill.columns), "lines": lines, "figure": figure, "text": text}


def motion(compared: Comparison, of: dict[Path, list[str]]) -> dict[str, Any] | None:
    """Return displacements of the conditions' waves beside the target's, as a figure and a table; None without waves.

    Raises InputError where a data set is not there any more.
    """
    settings: dict[tuple[Path, ...], dict[tuple[float, float], list[str]]] = {}
    for folder, names in of.items():
        clips, recordings = config_of(folder).clips, tuple(parents_of(folder).values())
        if clips.kind == "waves" and recordings:
            at = settings.setdefault(recordings, {})
            at.setdefault((float(clips.dt), float(clips.zoom)), []).extend(names)
    if not settings:
        return None
    run = next(run for run in compared.runs.values() if run.folder is not None)
    cfg = config_of(run.folder)
    entries = catalogue(cfg, list(cfg.flow_data.training))
    flows = {name: flow_motion(open_with_flow(name, entries), PAIRS) for name in cfg.flow_data.training}
    shown, lines = dict(flows), []
    for folders, at in settings.items():
        measured = [wave_statistics(open_recording(folder / files.RECORDING)) for folder in folders]
        waves = {setting: wave_motion(measured, *setting) for setting in at}
        shown |= {f"waves, dt {dt:g} s, zoom {zoom:g}": moved for (dt, zoom), moved in waves.items()}
        for row in motion_table(waves, flows).itertuples():
            numbers = [f"{row.dt:g}", f"{row.zoom:g}", f"{row.mean:.2f}", f"{row.distance:.2f}"]
            lines.append([row.dataset, *numbers, ", ".join(at[row.dt, row.zoom])])
    headings = ["data set", "dt s", "zoom", "mean displacement px", "distance px", "conditions"]
    return {"figure": embed(histogram_figure(shown)), "headings": headings, "lines": lines}


def embed(figure: Figure) -> str:
    """Return a figure as an address that a page can hold."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return _lighter(buffer)


def _lighter(picture: Path | io.BytesIO) -> str:
    """Return a picture in 256 colours, a third of its bytes: none of the figures has many more."""
    try:
        return _address(Image.open(picture).convert("RGB").quantize(256))
    except OSError as error:
        raise Damaged(f"{picture} is damaged ({error})") from error


def _address(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="png", optimize=True)
    return data_uri(buffer.getvalue(), "image/png")
