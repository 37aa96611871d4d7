"""Runs a simulation into a recording."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from rwtl.errors import InputError
from rwtl.waves.config import RecordingConfig
from rwtl.waves.recording import RecordingWriter


@runtime_checkable
class Engine(Protocol):
    """Runs a simulation."""

    def frames(self, config: RecordingConfig) -> Iterator[np.ndarray]:
        """Calcium, float32 (row, column) in nM, at the end of every frame interval, the transient included."""
        ...


def simulate(
    config: RecordingConfig,
    engine: Engine,
    path: Path,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Run a simulation and stream its calcium into the recording at `path` while it runs.

    Frame k of the recording is the state at model time transient + (k + 1) · frame_interval. The frames depend on
    `config` alone: not on threads, and on the precision only by rounding. A recording at `path` that is not complete is
    started over.

    Args:
        config: what to simulate.
        engine: what runs it.
        path: of the recording, a Zarr group.
        progress: called after every frame with the model time that has been simulated, s.

    Raises:
        InputError: `path` holds a complete recording or something else, or the engine lacks a tool.
        InputError: the simulation failed; the frames that were written before stay valid.
    """
    writer = RecordingWriter(path, config)
    with closing(engine.frames(config)) as frames:
        for index, frame in enumerate(frames, start=1):
            if not np.isfinite(frame).all():
                raise InputError(
                    f"calcium is not finite at {index * config.frame_interval:g} s of model time: the integration has "
                    f"failed; reduce recording.time_step, now {config.time_step} s, or check recording.cell"
                )
            if index > config.transient_frames:
                writer.write(frame)
            if progress is not None:
                progress(index * config.frame_interval)
    writer.finish()
