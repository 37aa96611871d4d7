"""Figures of the report."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.figure import Figure

from rwtl.data.flow_colour import colour_wheel, flow_to_colour

WAVE_COLOURS = "coolwarm"  # blue is low, red is high


def _colours(rows: Sequence[str]) -> dict[str, tuple]:
    palette = colormaps["tab10" if len(rows) <= 10 else "tab20"].colors
    return {row: palette[k % len(palette)] for k, row in enumerate(rows)}


def learning_curves(curves: pd.DataFrame, threshold: float) -> Figure:
    """Validation EPE (px) over steps: the mean over seeds as a line, the range over seeds as a band."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    colours = _colours(list(dict.fromkeys(curves.row)))
    for row, of_row in curves.groupby("row", sort=False):
        by_step = of_row.groupby("step").epe
        mean, low, high = by_step.mean(), by_step.min(), by_step.max()
        axes.plot(mean.index, mean, color=colours[row], label=row, marker="o", markersize=3)
        axes.fill_between(mean.index, low, high, color=colours[row], alpha=0.15, linewidth=0)
    axes.axhline(threshold, color="0.4", linewidth=1, linestyle="--", label="baseline at the end")
    # The first steps of a random network are off by a multiple of what follows; the axis shows what is compared.
    trained = curves[curves.step > 0].epe
    axes.set_ylim(0, 1.15 * trained.max())
    axes.set(xlabel="training steps", ylabel="validation EPE (px)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure


def final_errors(errors: pd.DataFrame) -> Figure:
    """EPE (px) of every row after training, one panel for each data set: mean, standard deviation, and the seeds."""
    datasets = list(dict.fromkeys(errors.dataset))
    rows = list(dict.fromkeys(errors.row))
    colours = _colours(rows)
    figure = Figure(figsize=(8, 0.55 * len(rows) * len(datasets) + 1.2 * len(datasets)), layout="constrained")
    for axes, dataset in zip(figure.subplots(len(datasets), squeeze=False)[:, 0], datasets, strict=True):
        for place, row in enumerate(rows):
            epe = errors[(errors.dataset == dataset) & (errors.row == row)].epe
            deviation = 0.0 if len(epe) < 2 else epe.std()
            axes.barh(place, epe.mean(), xerr=deviation, color=colours[row], alpha=0.6, capsize=4)
            axes.plot(epe, [place] * len(epe), "o", color="black", markersize=3.5)
        axes.set_yticks(range(len(rows)), rows)
        axes.invert_yaxis()
        axes.set(xlabel="EPE (px): bar = mean, whisker = sd over seeds, dots = seeds", title=dataset)
        axes.grid(axis="x", alpha=0.3)
    return figure


def next_frames(
    clips: Float[np.ndarray, "clips n c h w"], predicted: Float[np.ndarray, "clips n_minus_2 c h w"], dt: float | None
) -> Figure:
    """Each clip a row: its last three frames, the prediction of the last, and its error (the mean over channels).

    Args:
        clips: I1 to In, n at least 3, in 0..1: normalised calcium (c 1) or RGB (c 3).
        predicted: the predictions of I3 to In.
        dt: time between the frames (s); None for frames without a time.
    """
    last, waves = clips.shape[1], clips.shape[2] == 1
    times = [""] * 3 if dt is None else [f", {(last - 3 + k) * dt:g} s" for k in range(3)]
    titles = [f"{text}I{last - 2 + k}{times[k]}" for k, text in enumerate(("", "", "true "))]
    titles += [f"predicted I{last}", "predicted - true"]
    figure = Figure(figsize=(10, 1.62 * len(clips) + 0.3), layout="constrained")
    grid = figure.subplots(len(clips), 5, squeeze=False)
    for axes, clip, prediction in zip(grid, clips, predicted[:, -1], strict=True):
        for ax, frame in zip(axes, (*clip[-3:], prediction), strict=False):
            image = frame[0] if waves else frame.transpose(1, 2, 0).clip(0, 1)
            shown = ax.imshow(image, cmap=WAVE_COLOURS, vmin=0, vmax=1)
        error = (prediction - clip[-1]).mean(axis=0)
        difference = axes[4].imshow(error, cmap="RdBu_r", vmin=-0.5, vmax=0.5)
    for ax, title in zip(grid[0], titles, strict=True):
        ax.set_title(title, fontsize="medium")
    for ax in grid.flat:
        ax.set(xticks=[], yticks=[])
    if waves:
        figure.colorbar(shown, ax=grid[:, :4], shrink=0.8, label="normalised calcium", location="left")
    figure.colorbar(difference, ax=grid[:, 4], shrink=0.8, label="error")
    return figure


def validation_curve(curve: pd.DataFrame) -> Figure:
    """A pre-training's validation over steps: one panel for each metric, over `step`; what is no number is left out."""
    metrics = [name for name in curve.columns if name != "step" and curve[name].notna().any()]
    columns = min(4, len(metrics))
    lines = -(-len(metrics) // columns)
    figure = Figure(figsize=(2.6 * columns + 0.4, 2.1 * lines + 0.2), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for ax, metric in zip(grid.flat, metrics, strict=False):
        ax.plot(curve.step, curve[metric], marker="o", markersize=3)
        ax.set_title(metric, fontsize="medium")
        ax.grid(alpha=0.3)
    for ax in grid.flat[len(metrics) :]:
        ax.set_axis_off()
    figure.supxlabel("pre-training steps", fontsize="medium")
    return figure


def flow_fields(scenes: list[tuple[str, np.ndarray, np.ndarray]], predictions: dict[str, list[np.ndarray]]) -> Figure:
    """Each scene a column: first frame, true flow, and the flow of every row, in the usual colour wheel.

    Args:
        scenes: name, first frame (3, h, w) 0..255 and true flow (2, h, w) px of each scene; unknown flow is nan.
        predictions: for each row of the comparison, its flow for each scene.
    """
    lines = ["first frame", "true flow", *predictions]
    figure = Figure(figsize=(2.6 * len(scenes) + 1.6, 1.85 * len(lines)), layout="constrained")
    grid = figure.subplots(len(lines), len(scenes), squeeze=False)
    for column, (name, image, flow) in enumerate(scenes):
        longest = float(np.nanmax(np.hypot(*flow))) or 1.0
        grid[0, column].imshow(image.transpose(1, 2, 0).astype(np.uint8))
        grid[0, column].set_title(name, fontsize="medium")
        grid[1, column].imshow(flow_to_colour(flow, longest))
        grid[1, column].set_xlabel(f"full colour: {longest:.1f} px", fontsize="small")
        for line, row in enumerate(predictions, start=2):
            predicted = predictions[row][column]
            epe = np.nanmean(np.hypot(*(predicted - flow)))
            grid[line, column].imshow(flow_to_colour(predicted, longest))
            grid[line, column].set_xlabel(f"EPE {epe:.2f} px", fontsize="small")
    for line, name in enumerate(lines):
        grid[line, 0].set_ylabel(name, fontsize="small")
    for ax in grid.flat:
        ax.set(xticks=[], yticks=[])
    wheel = grid[0, -1].inset_axes((1.04, 0.2, 0.6 * image.shape[1] / image.shape[2], 0.6))
    wheel.imshow(colour_wheel(101))
    wheel.set_axis_off()
    wheel.set_title("direction", fontsize="x-small", pad=2)
    return figure
