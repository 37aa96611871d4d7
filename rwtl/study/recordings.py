"""The first stage, from a configuration to a recording. It needs no PyTorch, so it starts fast and stays small."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rwtl.config import typed
from rwtl.errors import InputError
from rwtl.progress import Progress
from rwtl.study.artifact import Artifact, build
from rwtl.waves import Recording, RecordingConfig, open_recording, simulate
from rwtl.waves.engines import engine_of
from rwtl.waves.page import write_page
from rwtl.waves.parameters import MODEL_VERSION
from rwtl.waves.pictures import draw_mosaic, write_movie
from rwtl.waves.statistics import wave_statistics
from rwtl.waves.summary import print_summary

RECORDING = "recording"
MOSAIC = "mosaic.png"
MOVIE = "movie.gif"
STATISTICS = "statistics.txt"
WAVES = "waves.csv"
PAGE = "page.html"


def setting(cfg: DictConfig, key: str) -> Any:
    """Return a value or a section of the configuration, as plain values; what is not set is named."""
    try:
        value = OmegaConf.select(cfg, key, throw_on_missing=True)
        plain = not OmegaConf.is_config(value)
        return value if plain else OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        referred = re.search(r"while resolving interpolation: Missing mandatory value: ([\w.]+)", str(error))
        missing = referred[1] if referred else error.full_key or key
        raise InputError(f"{missing} is not set; give it on the command line as {missing}=...") from error


def path_of(cfg: DictConfig, key: str) -> Path:
    """Return a path of the configuration; what is not set or no text is named."""
    value = setting(cfg, key)
    if not isinstance(value, str):
        raise InputError(f"{key} is {value!r}; it must be a path")
    return Path(value)


def outputs_folder(cfg: DictConfig) -> Path:
    return Path(setting(cfg, "paths.outputs"))


def recording(cfg: DictConfig) -> Artifact:
    """Simulate the waves; the artifact holds `recording` (Zarr), `page.html`, `mosaic.png`, `movie.gif`,
    `statistics.txt` and `waves.csv`.

    What an interrupted simulation left is resumed.
    """
    config = typed(RecordingConfig, setting(cfg, "recording"), "recording")

    def make(folder: Path) -> None:
        path = folder / RECORDING
        before = open_recording(path) if path.exists() else None
        if before is None or not before.complete:
            if before is not None:
                print(f"  going on after {before.valid_frames} frames that an interrupted simulation left", flush=True)
            size = config.recorded_frames * config.rows * config.columns * 4 / 1e9
            print(
                f"  {config.recorded_frames} frames of {config.rows} × {config.columns} cells: up to {size:.2f} GB",
                flush=True,
            )
            engine = engine_of(setting(cfg, "engine"))
            progress = Progress("simulate", config.duration, "s of model time", rate=" × real time")
            simulate(config, engine, path, progress)
        _describe(open_recording(path), folder)

    values = asdict(config) | {"model_version": MODEL_VERSION}
    made = build(outputs_folder(cfg), "recording", "recording", values, make, resumable=True)
    open_recording(made.path / RECORDING)  # one that was reused may have been damaged since, or be of another version
    return made


def _describe(made: Recording, folder: Path) -> None:
    print("  measuring and drawing the waves", flush=True)
    statistics = wave_statistics(made)
    with open(folder / STATISTICS, "w") as file:
        print_summary(statistics, file)
    statistics.waves.to_csv(folder / WAVES, index_label="wave")
    draw_mosaic(made, folder / MOSAIC)
    write_movie(made, folder / MOVIE)
    write_page(statistics, folder / PAGE, folder / MOSAIC, folder / MOVIE)
