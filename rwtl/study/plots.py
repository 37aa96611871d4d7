"""Figures of pre-trainings."""

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure

WAVE_COLOURS = "coolwarm"  # blue is low, red is high


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
