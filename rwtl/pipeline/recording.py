"""The first stage, from a configuration to recordings. It needs no PyTorch, so it starts fast and stays small."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rwtl import files
from rwtl.config import outputs_folder, setting
from rwtl.errors import InputError
from rwtl.pipeline.artifact import Artifact
from rwtl.progress import Progress, say
from rwtl.sections import chosen, typed
from rwtl.waves import Recording, RecordingConfig, open_recording, simulate
from rwtl.waves.config import SYNTHETIC_VERSION, SyntheticConfig
from rwtl.waves.engines import engine_of
from rwtl.waves.measure.statistics import wave_statistics
from rwtl.waves.model.parameters import MODEL_VERSION
from rwtl.waves.page.figures import draw_mosaic, write_movie
from rwtl.waves.page.page import print_summary, write_page
from rwtl.waves.store import SAC
from rwtl.waves.synthetic import GENERATORS, kind_of, write_synthetic


def recording_configs(cfg: DictConfig) -> list[RecordingConfig | SyntheticConfig]:
    """Return the checked configuration of each recording of `clips.recordings`.

    Each entry's keys are laid over the section `recording`; one with a `kind` stands for the whole section. Without
    `clips.recordings` it is the section alone.

    Raises:
        InputError: A value is wrong, or two entries show the same waves, of which validation must not see any again.
    """
    section = setting(cfg, "recording")
    entries = OmegaConf.select(cfg, "clips.recordings") and setting(cfg, "clips.recordings")
    if entries is None:
        return [_typed(section, "recording")]
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries) or not entries:
        raise InputError(
            f"clips.recordings is {entries!r}; give a list of what differs from the section recording, such as "
            "[{}, {seed: 1}]"
        )
    configs: list[RecordingConfig | SyntheticConfig] = []
    for number, entry in enumerate(entries):
        name = f"clips.recordings[{number}]"
        whole = entry if "kind" in entry else OmegaConf.to_container(OmegaConf.merge(section, entry))
        config = _typed(whole, name if entry else "recording")
        waves = list(map(_waves_of, configs))
        if _waves_of(config) in waves:
            raise InputError(
                f"{name} shows the same waves as clips.recordings[{waves.index(_waves_of(config))}]; leave it out, or "
                "give it another seed"
            )
        configs.append(config)
    return configs


def _waves_of(config: RecordingConfig | SyntheticConfig) -> dict[str, Any]:
    """Return what the waves depend on: not which part of their time is recorded, nor how often."""
    recorded = ("duration", "transient", "frame_interval")
    return {"kind": type(config), **{key: value for key, value in asdict(config).items() if key not in recorded}}


def _typed(values: Mapping[str, Any], name: str) -> RecordingConfig | SyntheticConfig:
    """Return a recording's configuration, of the class that its `kind` says."""
    configs = {SAC: RecordingConfig} | {kind: generator.config for kind, generator in GENERATORS.items()}
    kind, rest = chosen(configs, values, name, default=SAC)
    return typed(configs[kind], rest, name)


class RecordingArtifact(Artifact):
    """A recording, planned or made."""

    def open(self) -> Recording:
        """Return the recording, open."""
        return open_recording(self.file(files.RECORDING))

    def show(self) -> None:
        """Print the statistics of the waves, and where recording and page are."""
        shown = files.PAGE if (self.path / files.PAGE).exists() else files.MOSAIC
        print(files.text_of(self.path / files.STATISTICS))
        print(f"recording: {self.path / files.RECORDING}\npage:      {self.path / shown}")


def recording(cfg: DictConfig) -> RecordingArtifact:
    """Return the recording of a configuration, the first where there are several: a plan.

    The artifact holds `recording` (Zarr), `mosaic.png`, `movie.gif`, `statistics.txt`, `waves.csv`, and of a simulation
    `page.html`. What an interrupted simulation left is resumed; a synthetic recording is made anew.

    >>> waves = rwtl.build(rwtl.recording(cfg))
    >>> waves.open().shape
    (24, 24)
    """
    return recordings(cfg)[0]


def recordings(cfg: DictConfig) -> list[RecordingArtifact]:
    """Return the recordings of `clips.recordings`, each an artifact as of `recording`."""
    return [_recording(cfg, config) for config in recording_configs(cfg)]


def _recording(cfg: DictConfig, config: RecordingConfig | SyntheticConfig) -> RecordingArtifact:
    def make(folder: Path) -> None:
        if isinstance(config, SyntheticConfig):
            write_synthetic(config, folder / files.RECORDING, Progress("write", config.recorded_frames, "frames"))
        else:
            _simulate(cfg, config, folder / files.RECORDING)
        _describe(open_recording(folder / files.RECORDING), folder)

    simulated = isinstance(config, RecordingConfig)
    if simulated:
        values, label = asdict(config) | {"model_version": MODEL_VERSION}, "recording"
    else:
        kind = kind_of(config)
        values = {"kind": kind, **asdict(config), "generator_version": SYNTHETIC_VERSION}
        label = f"recording of {kind.replace('_', ' ')}"
    return RecordingArtifact(
        "recording",
        label,
        values,
        make,
        outputs_folder(cfg),
        resumable=simulated,
        config=cfg,
        check=lambda folder: _require_own(folder / files.RECORDING, config),  # damaged, or of another version or place
    )


def _require_own(path: Path, config: RecordingConfig | SyntheticConfig) -> None:
    """Raise InputError where the recording at a path is not the whole one of a configuration."""
    made = open_recording(path)
    if not made.complete or _typed(made.config, "recording") != config:
        what = "of another configuration" if made.complete else f"unfinished, {made.valid_frames} frames"
        raise InputError(f"{path} is {what}, and its artifact is complete: remove {path.parent}, and it is made anew")


def _simulate(cfg: DictConfig, config: RecordingConfig, path: Path) -> None:
    before = open_recording(path) if path.exists() else None
    if before is not None and before.complete:
        return _require_own(path, config)
    if before is not None:
        say(f"  going on after {before.valid_frames} frames that an interrupted simulation left")
    size = config.recorded_frames * config.rows * config.columns * 4 / 1e9
    say(f"  {config.recorded_frames} frames of {config.rows} × {config.columns} cells: up to {size:.2f} GB")
    engine = engine_of(setting(cfg, "engine"))
    progress = Progress("simulate", config.duration, "s of model time", rate=" × real time")
    simulate(config, engine, path, progress)


def _describe(made: Recording, folder: Path) -> None:
    say("  measuring and drawing the waves")
    statistics = wave_statistics(made)
    with open(folder / files.STATISTICS, "w", encoding="utf-8") as file:
        print_summary(statistics, file)
    statistics.waves.to_csv(folder / files.WAVES, index_label="wave")
    draw_mosaic(made, folder / files.MOSAIC)
    write_movie(made, folder / files.MOVIE)
    if made.kind == SAC:  # the page is about cells and their parameters
        write_page(statistics, folder / files.PAGE, folder / files.MOSAIC, folder / files.MOVIE)
