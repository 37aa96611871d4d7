"""Pictures of a recording: a mosaic of frames over time, and a short movie."""

import math
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from rwtl.errors import InputError
from rwtl.waves.store import SAC, Recording

# Calcium in nM from blue to red; a cell at rest has 60 to 105 nM, and one in a wave 400 to 650 nM.
COLOUR_MAP = "coolwarm"
LOW, HIGH = 50.0, 650.0
# A mosaic of a long recording shows a frame every 15 s, as papers on retinal waves do, or every multiple of that.
MOSAIC_STEP = 15.0
_FEWEST_PANELS, _MOST_PANELS = 12, 48


def draw_mosaic(recording: Recording, file: Path, panels: int | None = None, columns: int = 6) -> None:
    """Draw frames over the whole recording, from blue (low calcium) to red (high).

    Args:
        recording: with at least one valid frame; with fewer frames than panels, every frame is drawn.
        file: the picture, in a format that matplotlib knows by its suffix, such as .png.
        panels: how many frames, at equal distances. By default one at every multiple of 15 s of model time, or of 30 s
            and so on where that would be more than 48; where it would be fewer than 12, 24 at equal distances.
        columns: how many frames in a row.

    Raises:
        InputError: the recording has no valid frame.
    """
    chosen = mosaic_frames(recording) if panels is None else _spread(recording, panels)
    columns = min(columns, len(chosen))
    rows = -(-len(chosen) // columns)
    cells_high, cells_wide = recording.shape
    panel = 1.75
    # Inches; the header and the colour bar keep their size whatever the number of panels.
    width, height = columns * panel + 1.15, rows * (panel * cells_high / cells_wide + 0.25) + 0.65
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.0, hspace=0.0)
    axes = figure.subplots(rows, columns, squeeze=False)
    norm = Normalize(LOW, HIGH)
    for axis in axes.ravel():
        axis.set_axis_off()
    for axis, index in zip(axes.ravel(), chosen, strict=False):
        frame = recording.frames(index, index + 1)[0]
        image = axis.imshow(frame, cmap=COLOUR_MAP, norm=norm, interpolation="nearest")
        axis.set_title(f"{recording.time_of(index):.1f} s", fontsize=12, pad=3)
    bar = figure.colorbar(image, ax=axes, extend="both", fraction=0.03, pad=0.015, aspect=35)
    bar.set_label("calcium (nM)", fontsize=12)
    bar.ax.tick_params(labelsize=11)
    simulated = recording.kind == SAC
    what = "Simulated retinal waves" if simulated else f"Synthetic recording, {recording.kind.replace('_', ' ')}"
    sites = "starburst amacrine cells" if simulated else "sites"
    title = f"{what}: {cells_high} × {cells_wide} {sites}, {recording.spacing:g} µm apart"
    figure.suptitle(title, fontsize=13, wrap=True)
    figure.savefig(file)


def mosaic_frames(recording: Recording) -> list[int]:
    """Numbers of the frames that a mosaic shows by default: see `draw_mosaic`.

    Raises:
        InputError: the recording has no valid frame.
    """
    equally_spread = _spread(recording, 24)
    first, last = recording.first_frame_time, recording.time_of(recording.valid_frames - 1)
    step = MOSAIC_STEP * max(1, math.ceil((last - first) / (MOSAIC_STEP * _MOST_PANELS)))
    times = step * np.arange(math.ceil(first / step), math.floor(last / step) + 1)
    if len(times) < _FEWEST_PANELS:
        return equally_spread
    return [round((time - first) / recording.frame_interval) for time in times.tolist()]


def write_movie(
    recording: Recording, file: Path, frames: int = 120, size: int = 384, frames_per_second: int = 15
) -> None:
    """Write a GIF of frames at equal distances over the whole recording, with the model time drawn in.

    Args:
        recording: with at least one valid frame.
        file: ends in .gif.
        frames: at most so many.
        size: longest side of the movie at most, pixels.
        frames_per_second: of the movie when it plays.

    Raises:
        InputError: the recording has no valid frame, or the file does not end in .gif.
    """
    if file.suffix != ".gif":
        raise InputError(f"{file} does not end in .gif: the movie is written as a GIF")
    # A fixed palette keeps colours comparable from frame to frame; its last two entries are for the text.
    colours = (colormaps[COLOUR_MAP](np.linspace(0, 1, 62))[:, :3] * 255).round().astype(np.uint8)
    palette = np.concatenate([colours, [[0, 0, 0], [255, 255, 255]]]).astype(np.uint8)
    # A whole number of pixels for every cell where there is room for it.
    scale = size // max(recording.shape) or size / max(recording.shape)
    shape = (round(recording.shape[1] * scale), round(recording.shape[0] * scale))
    font = ImageFont.load_default(size=max(12, size // 18))
    pictures = []
    for index in _spread(recording, frames):
        level = (recording.frames(index, index + 1)[0] - LOW) / (HIGH - LOW)
        picture = Image.fromarray((level.clip(0, 1) * 61).round().astype(np.uint8)).resize(
            shape, Image.Resampling.NEAREST
        )
        picture.putpalette(palette.tobytes())
        _stamp(picture, f"{recording.time_of(index):.1f} s", font)
        pictures.append(picture)
    pictures[0].save(
        file,
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 / frames_per_second),
        loop=0,
        optimize=False,
    )


def _stamp(picture: Image.Image, text: str, font: ImageFont.FreeTypeFont) -> None:
    """Write a text into the corner, in the palette's last two colours: smooth edges would take those of calcium."""
    for colour, stroke in ((62, 2), (63, 0)):
        mask = Image.new("L", picture.size)
        ImageDraw.Draw(mask).text((6, 4), text, font=font, fill=255, stroke_width=stroke)
        picture.paste(colour, mask=mask.point(lambda level: 255 if level > 127 else 0))


def _spread(recording: Recording, count: int) -> list[int]:
    """At most `count` frame numbers at equal distances, the first and the last valid frame among them."""
    if recording.valid_frames == 0:
        raise InputError(f"{recording.path} has no valid frame yet: let the simulation run on")
    chosen = np.linspace(0, recording.valid_frames - 1, min(count, recording.valid_frames))
    return [round(index) for index in chosen.tolist()]
