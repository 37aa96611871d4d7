"""Next-frame prediction over a grid of settings: what the model gains over its baselines, and where it loses."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf

from rwtl import files
from rwtl.config import setting, tables_folder
from rwtl.errors import InputError
from rwtl.pipeline.artifact import Artifact
from rwtl.pipeline.pretraining import pretraining
from rwtl.pipeline.source_tasks import pretraining_plan
from rwtl.sweeps.scheduler import SUCCEEDED
from rwtl.sweeps.sweep import made_of
from rwtl.terminal import show_frame
from rwtl.tracking.pictures import draw_error, draw_frame

MODEL = "model"  # the name of the trained model among the predictors
COPY = "copy"


def skill_grid(cfg: DictConfig) -> Path:
    """Pre-train for every combination of the section `grid`, and return the folder of tables and figures.

    `skill.csv` has a line for each combination and predictor. A combination that fails does not lose the others.
    """
    grid = parsed(setting(cfg, "grid"))
    listed = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    combinations = {" · ".join(f"{key} {value}" for key, value in values.items()): values for values in listed}
    planned = {}
    for name, values in combinations.items():
        configured = of_combination(cfg, values)
        if pretraining_plan(configured).kind != "next_frame":
            raise InputError("skill is that of next-frame prediction; use pretraining=next_frame")
        planned[name] = replace(pretraining(configured), label=f"pretraining {name}")
    outcomes = made_of(planned.values(), cfg, "skill")
    made = {name: artifact for name, artifact in planned.items() if outcomes[artifact.path].state in SUCCEEDED}
    tables = [artifact.skill.assign(**combinations[name]) for name, artifact in made.items()]
    folder = tables_folder(cfg, "skill")
    if tables:
        table = pd.concat(tables, ignore_index=True)
        table.to_csv(folder / "skill.csv", index=False)
        show_frame(errors_by_predictor(table, list(grid)), ".4f", where="skill.csv")
        if "clips.dt" in grid:
            others = [key for key in grid if key != "clips.dt"]
            errors_figure(table, others).savefig(folder / "skill.png", dpi=110)
            first = [name for name in made if all(combinations[name][key] == grid[key][0] for key in others)]
            if first:
                shown = {combinations[name]["clips.dt"]: made[name] for name in first}
                next_frames_by_dt(shown).savefig(folder / "next_frames.png", dpi=110)
    if len(made) < len(planned):
        failed = len(planned) - len(made)
        raise InputError(f"{failed} of {len(planned)} pre-trainings failed; the tables are of the others")
    return folder


def parsed(grid: list[str]) -> dict[str, list]:
    """Return the values of every key, of texts such as `clips.dt=0.5,1`."""
    values = {}
    for text in grid:
        key, equals, listed = str(text).partition("=")
        if not equals or not listed:
            raise InputError(f"grid holds {text!r}; give a key and its values, as in clips.dt=0.5,1,2")
        values[key.strip()] = OmegaConf.to_container(OmegaConf.create(f"[{listed}]"))
    return values


def of_combination(cfg: DictConfig, values: dict[str, Any]) -> DictConfig:
    """Return the configuration with these values; a key that it does not have is an InputError."""
    changed = cfg.copy()
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        if name not in (OmegaConf.select(changed, section) if section else changed):
            raise InputError(f"grid.{key}: the configuration has no value {key}")
        OmegaConf.update(changed, key, value)
    return changed


def errors_by_predictor(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return a line for each combination: the MSE of every predictor, and whether the model is worse than copying."""
    wide = table.pivot_table(index=keys, columns="predictor", values="mse", sort=False)
    wide = wide.reindex(columns=table.predictor.unique()).reset_index()  # also one whose MSE is nowhere a number
    quality = table[table.predictor == MODEL].set_index(keys)[["psnr", "ssim"]]
    wide = wide.join(quality, on=keys)
    others = [name for name in table.predictor.unique() if name != MODEL]
    wide["best"] = wide[others].idxmin(axis=1)
    wide["skill"] = 1 - wide[MODEL] / wide[others].min(axis=1)
    # An MSE that is no number is worse than any.
    cases = [wide.skill > 0, ~(wide[MODEL] < wide[COPY])]
    return wide.assign(verdict=np.select(cases, ["better than all", "WORSE than copying"], "WORSE than " + wide.best))


def errors_figure(table: pd.DataFrame, keys: list[str]) -> Figure:
    """Draw the MSE of models and baselines over dt, in relation to copying: below 1 is better than copying I2."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    copied = table[table.predictor == COPY].groupby("clips.dt").mse.first()
    for name, of_predictor in table[~table.predictor.isin((MODEL, COPY))].groupby("predictor", sort=False):
        line = of_predictor.groupby("clips.dt").mse.first() / copied
        axes.plot(line.index, line, "--", marker="x", label=name.replace("_", " "))
    trained = table[table.predictor == MODEL]
    for values, of_model in trained.groupby(keys, sort=False) if keys else [((), trained)]:
        line = of_model.set_index("clips.dt").mse / copied
        label = " · ".join(f"{key.split('.')[-1]} {value}" for key, value in zip(keys, values, strict=True))
        axes.plot(line.index, line, marker="o", label=label or MODEL)
    axes.axhline(1, color="0.4", linewidth=1, label="copying I2")
    axes.set(xscale="log", xlabel="dt (s)", ylabel="MSE / MSE of copying I2", ylim=(0, None))
    axes.set_xticks(copied.index, [f"{dt:g}" for dt in copied.index])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure


def next_frames_by_dt(artifacts: dict[float, Artifact]) -> Figure:
    """Draw one clip for each dt (s): I1, I2, I3, the predicted I3, and the errors of copying and of the model."""
    titles = ("I1", "I2", "true I3", "predicted I3", "error of copying I2", "error of the model")
    figure = Figure(figsize=(11, 1.8 * len(artifacts) + 0.3), layout="constrained")
    grid = figure.subplots(len(artifacts), len(titles), squeeze=False, subplot_kw={"xticks": [], "yticks": []})
    for axes, (dt, artifact) in zip(grid, artifacts.items(), strict=True):
        saved = np.load(artifact.file(files.PREDICTIONS))
        clips, predicted = saved["clips"][:, -3:, 0], saved["predicted"][:, -1, 0]
        moved = int(np.square(clips[:, 2] - clips[:, 1]).mean(axis=(1, 2)).argmax())  # the clip in which most changes
        clip = clips[moved]
        for ax, frame in zip(axes, (*clip, predicted[moved]), strict=False):
            draw_frame(ax, frame[None])
        for ax, guess in zip(axes[4:], (clip[1], predicted[moved]), strict=True):
            draw_error(ax, guess - clip[2])
            ax.set_xlabel(f"MSE {np.square(guess - clip[2]).mean():.4f}", fontsize="small")
        axes[0].set_ylabel(f"dt {dt:g} s", fontsize="medium")
    for ax, title in zip(grid[0], titles, strict=True):
        ax.set_title(title, fontsize="medium")
    return figure
