"""Pictures of what a model predicts: frames, or flow; while it trains, and at the end."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image
from torch import Tensor

from rwtl.files import replaced
from rwtl.flow.colour_wheel import NOT_FINITE, flow_to_colour
from rwtl.flow.sample import FlowSample
from rwtl.tracking.tracker import log_picture
from rwtl.waves.config import WAVE_COLOURS

ERROR_COLOURS = "RdBu_r"  # blue is below 0, red above
SMALLEST = 96  # px, of a frame in the picture; smaller ones are enlarged
_GREEN = tuple(channel / 255 for channel in NOT_FINITE)
GAP = 2  # px, between frames


def clip_picture(
    clip: Float[np.ndarray, "n c h w"], predicted: Float[np.ndarray, "n_minus_2 c h w"]
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Return a clip, below I3 to In their predictions, and below those their errors, from -0.5 (blue) to 0.5 (red).

    Predictions and errors that are not finite are green.

    Args:
        clip: I1 to In, in 0..1: normalised calcium (c 1) or RGB (c 3).
        predicted: of I3 to In.
    """
    empty = np.full((2, *clip.shape[2:], 3), 255, dtype=np.uint8)
    errors = _coloured((predicted - clip[2:]).mean(axis=1) + 0.5, ERROR_COLOURS)
    rows = (_rgb(clip), np.concatenate((empty, _rgb(predicted))), np.concatenate((empty, errors)))
    times = -(-SMALLEST // min(clip.shape[2:]))
    border = ((0, GAP), (0, GAP), (0, 0))
    framed = [
        [np.pad(frame.repeat(times, 0).repeat(times, 1), border, constant_values=255) for frame in row] for row in rows
    ]
    return np.concatenate([np.concatenate(row, axis=1) for row in framed])


def _rgb(frames: Float[np.ndarray, "n c h w"]) -> UInt8[np.ndarray, "n h w 3"]:
    if frames.shape[1] == 1:
        return _coloured(frames[:, 0], WAVE_COLOURS)
    return _bytes(frames.transpose(0, 2, 3, 1), np.isfinite(frames).all(axis=1))


def _coloured(values: Float[np.ndarray, "n h w"], colours: str) -> UInt8[np.ndarray, "n h w 3"]:
    return _bytes(colormaps[colours](values)[..., :3], np.isfinite(values))


def _bytes(colours: Float[np.ndarray, "n h w 3"], finite: Bool[np.ndarray, "n h w"]) -> UInt8[np.ndarray, "n h w 3"]:
    shown = (255 * np.where(finite[..., None], colours, 0).clip(0, 1)).round().astype(np.uint8)
    shown[~finite] = NOT_FINITE
    return shown


class ClipPictures(pl.Callback):
    """Saves a picture of the first validation clip and its predictions at every validation, and logs it.

    Args:
        folder: where `step_<step>.png` goes.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: None,
        batch: Float[Tensor, "b n c h w"],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx or not trainer.is_global_zero:
            return
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            predicted = module.model(batch[:1, :-1])
        picture = clip_picture(batch[0].float().cpu().numpy(), predicted[0].float().cpu().numpy())
        _keep(picture, trainer, self.folder, "prediction")


def _keep(picture: UInt8[np.ndarray, "h w 3"], trainer: pl.Trainer, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with replaced(folder / f"step_{trainer.global_step:06d}.png") as draft:
        Image.fromarray(picture).save(draft, "PNG")
    log_picture(trainer.loggers, name, picture, trainer.global_step)


def flow_picture(
    image: Float32[np.ndarray, "3 h w"],
    flow: Float32[np.ndarray, "2 h w"],
    valid: Float32[np.ndarray, "h w"],
    estimated: Float32[np.ndarray, "2 h w"],
) -> UInt8[np.ndarray, "h four_w 3"]:
    """Return, from left to right: first frame, true flow, estimated flow, and its end-point error.

    Both flows have the same scale, full colour being the longest true displacement, and are black where they are not
    known or not finite; the error is white from as much on, green where it is not finite, and black where it is zero or
    the true flow is not known.
    """
    known = valid >= 0.5
    longest = max(float(np.hypot(*flow)[known].max(initial=0.0)), 1.0)
    truth = np.where(known, flow, np.float32(np.inf))
    error = np.where(known, np.hypot(*(estimated - np.where(known, flow, 0))) / longest, 0)
    finite = np.isfinite(error)
    grey = np.repeat((255 * np.where(finite, error, 0).clip(0, 1)).astype(np.uint8)[..., None], 3, axis=2)
    grey[~finite] = NOT_FINITE
    panels = (
        image.transpose(1, 2, 0).clip(0, 255).astype(np.uint8),
        *(flow_to_colour(f, longest) for f in (truth, estimated)),
    )
    return np.concatenate((*panels, grey), axis=1)


class FlowPictures(pl.Callback):
    """Saves a picture of the first pair of every validation data set at every validation, and logs it.

    Args:
        folder: where `<data set>/step_<step>.png` goes.
        names: of the data sets.
    """

    def __init__(self, folder: Path, names: Sequence[str]):
        self.folder = folder
        self.names = list(names)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Tensor,
        batch: FlowSample,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx or not trainer.is_global_zero:
            return
        panels = (batch.image1[0], batch.flow[0], batch.valid[0], outputs[0].float())
        name = self.names[dataloader_idx]
        _keep(flow_picture(*(panel.cpu().numpy() for panel in panels)), trainer, self.folder / name, f"{name}/flow")


def next_frames(
    clips: Float[np.ndarray, "clips n c h w"], predicted: Float[np.ndarray, "clips n_minus_2 c h w"], dt: float | None
) -> Figure:
    """Draw each clip as a row: its last three frames, the prediction of the last, and its error (mean over channels).

    What is not finite is green.

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
    grid = figure.subplots(len(clips), 5, squeeze=False, subplot_kw={"xticks": [], "yticks": []})
    for axes, clip, prediction in zip(grid, clips, predicted[:, -1], strict=True):
        for ax, frame in zip(axes, (*clip[-3:], prediction), strict=False):
            shown = draw_frame(ax, frame)
        difference = draw_error(axes[4], (prediction - clip[-1]).mean(axis=0))
    for ax, title in zip(grid[0], titles, strict=True):
        ax.set_title(title, fontsize="medium")
    if waves:
        figure.colorbar(shown, ax=grid[:, :4], shrink=0.8, label="normalised calcium", location="left")
    figure.colorbar(difference, ax=grid[:, 4], shrink=0.8, label="error")
    return figure


def draw_frame(ax: Axes, frame: Float[np.ndarray, "c h w"]) -> AxesImage:
    """Draw a frame of calcium (c 1) or RGB (c 3) in 0..1; what is not finite is green."""
    if len(frame) == 1:
        return _draw(ax, frame[0], WAVE_COLOURS, 0.0, 1.0)
    finite = np.isfinite(frame).all(axis=0)
    return ax.imshow(np.where(finite[..., None], frame.transpose(1, 2, 0).clip(0, 1), _GREEN))


def draw_error(ax: Axes, error: Float[np.ndarray, "h w"]) -> AxesImage:
    """Draw the error of a predicted frame, from -0.5 (blue) to 0.5 (red); what is not finite is green."""
    return _draw(ax, error, ERROR_COLOURS, -0.5, 0.5)


def _draw(ax: Axes, values: Float[np.ndarray, "h w"], colours: str, least: float, most: float) -> AxesImage:
    shown = colormaps[colours].with_extremes(bad=_GREEN)
    return ax.imshow(np.ma.masked_invalid(values), cmap=shown, vmin=least, vmax=most)


def validation_curve(curve: pd.DataFrame) -> Figure:
    """Draw a pre-training's validation over steps, one panel for each metric; what is no number is left out."""
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
