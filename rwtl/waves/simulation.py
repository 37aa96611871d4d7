"""A simulation: its start, what an engine is, and its run into a recording."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32
from scipy.ndimage import gaussian_filter

from rwtl.errors import InputError
from rwtl.random import named_rng
from rwtl.waves.config import RecordingConfig
from rwtl.waves.model.state import Snapshot, resting_state, uniform_snapshot
from rwtl.waves.store import RecordingWriter


@dataclass(frozen=True)
class Frame:
    """Result of an engine at the end of a frame interval.

    Attributes:
        number: frame intervals simulated since model time 0, this one included.
        calcium: nM.
        snapshot: the state, where `RecordingConfig.has_snapshot(number)`, and None elsewhere.
    """

    number: int
    calcium: Float32[np.ndarray, "row column"]
    snapshot: Snapshot | None


@runtime_checkable
class Engine(Protocol):
    """Runs a simulation."""

    def frames(self, config: RecordingConfig, start: Snapshot) -> Iterator[Frame]:
        """Simulate from the snapshot to the end of the duration; one `Frame` for every frame interval in between."""
        ...


def first_snapshot(config: RecordingConfig) -> Snapshot:
    """Return the state at model time 0, at the cells' mean parameters; `lattice_seed` decides its random fields."""
    shape, start = (config.rows, config.columns), config.start
    snapshot = uniform_snapshot(*shape, resting_state(config.cell))
    for name in ("r", "s") if start.kind == "smooth_random" else ():
        low, high = getattr(start, name)
        noise = named_rng(config.lattice_seed, f"start of {name}").standard_normal(shape)
        smooth = gaussian_filter(noise, start.correlation_length / config.spacing, mode="wrap")
        rank = smooth.ravel().argsort().argsort().reshape(shape) / max(1, smooth.size - 1)
        snapshot.values[name][:] = low + (high - low) * rank
    return snapshot


def simulate(
    config: RecordingConfig, engine: Engine, path: Path, progress: Callable[[float], None] | None = None
) -> None:
    """Run a simulation and stream its calcium into the recording at `path` while it runs.

    Frame k of the recording is the state at model time transient + (k + 1) · frame_interval. The frames depend on
    `config` alone: not on threads, nor on interruptions, and on engine and precision only by rounding. An incomplete
    recording of the same configuration at `path` is resumed after its last whole shard. Only one process may simulate
    into a path at a time, and nothing here prevents a second one; the recordings of `rwtl.pipeline` are protected by
    the claim of their artifact.

    Args:
        config: what to simulate.
        engine: what runs it.
        path: of the recording, a Zarr group.
        progress: called after every frame with the model time (s) that has been simulated.

    Raises:
        InputError: `path` holds a complete recording, one of another configuration or something else, or the disk is
            too small for it.
        InputError: the engine lacks a tool, or the simulation failed; the frames that were written before stay valid.
    """
    with RecordingWriter(path, config) as writer:
        start = writer.snapshot or first_snapshot(config)
        with closing(engine.frames(config, start)) as frames:
            for frame in frames:
                if not np.isfinite(frame.calcium).all():
                    raise InputError(
                        f"calcium is not finite at {frame.number * config.frame_interval:g} s of model time: the "
                        f"integration has failed; reduce recording.time_step, now {config.time_step} s, or check "
                        "recording.cell"
                    )
                writer.write(frame.number, frame.calcium, frame.snapshot)
                if progress is not None:
                    progress(frame.number * config.frame_interval)
        writer.finish()
