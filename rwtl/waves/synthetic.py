"""Recordings that no simulation made: controls, and waves that are known exactly."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from rwtl.waves.known_fronts import FrontsConfig, fronts
from rwtl.waves.moving_shapes import MovingShapesConfig, moving_shapes
from rwtl.waves.recording import write_whole
from rwtl.waves.synthetic_config import SYNTHETIC_VERSION, SyntheticConfig


class Generator(NamedTuple):
    """How one kind is configured, and what makes the frames (calcium, nM) of a configuration."""

    config: type[SyntheticConfig]
    frames: Callable[..., Iterator[Float32[np.ndarray, "row column"]]]


GENERATORS = {
    "moving_shapes": Generator(MovingShapesConfig, moving_shapes),
    "fronts": Generator(FrontsConfig, fronts),
}


def kind_of(config: SyntheticConfig) -> str:
    """Return the name of the kind that a configuration is of."""
    return next(kind for kind, generator in GENERATORS.items() if type(config) is generator.config)


def write_synthetic(config: SyntheticConfig, path: Path, progress: Callable[[float], None] | None = None) -> None:
    """Write a synthetic recording; nothing is at `path` before it is complete.

    Args:
        config: of one of GENERATORS.
        path: of the recording, a Zarr group like that of a simulated one; its attributes hold `generator_version` in
            place of the model's, and its configuration the `kind`.
        progress: called after every frame with how many have been made.

    Raises:
        InputError: something is at `path`, another process writes it, or the disk is too small for it.
    """
    kind = kind_of(config)
    attributes = {
        "frame_interval": config.frame_interval,
        "first_frame_time": 0.0,
        "spacing": config.spacing,
        "seed": config.seed,
        "config": {"kind": kind, **asdict(config)},
        "generator_version": SYNTHETIC_VERSION,
    }
    shape = (config.recorded_frames, config.rows, config.columns)
    write_whole(path, GENERATORS[kind].frames(config), shape, attributes, progress)
