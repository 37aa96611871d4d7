"""The read side of a recording."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from jaxtyping import Float32

from rwtl.errors import InputError
from rwtl.waves.config import FRAMES_PER_SHARD
from rwtl.waves.parameters import MODEL_VERSION
from rwtl.waves.synthetic_config import SYNTHETIC_VERSION

# Raised when the layout of the Zarr group changes.
FORMAT = 2
# The kind of a recording of simulated starburst amacrine cells; others are in `synthetic.GENERATORS`.
SAC = "sac"


@dataclass(frozen=True)
class Recording:
    """A recording as it was when it was opened; open it again to see frames that were written since.

    Attributes:
        path: of the Zarr group.
        valid_frames: frames that can be read.
        complete: whether the simulation reached its end.
        frame_interval: between frames, s.
        first_frame_time: model time of frame 0, s.
        spacing: distance between neighbouring cells, µm.
        shape: (rows, columns) of a frame.
        config: everything that determined it, by the keys of the configuration.
    """

    path: Path
    valid_frames: int
    complete: bool
    frame_interval: float
    first_frame_time: float
    spacing: float
    shape: tuple[int, int]
    config: dict[str, Any] = field(repr=False)

    @property
    def kind(self) -> str:
        """What made it: `sac`, the simulation, or a generator of `synthetic.GENERATORS`."""
        return self.config.get("kind", SAC)

    @property
    def periodic(self) -> bool:
        """Whether opposite borders of the lattice are neighbours; those of a synthetic recording never are."""
        return self.kind == SAC and self.config["coupling"]["boundary"] == "periodic"

    def frames(self, start: int, stop: int) -> Float32[np.ndarray, "frame row column"]:
        """Calcium of the frames start ≤ frame < stop, in nM.

        Raises:
            InputError: the range is empty or not within the valid frames, or their bytes are damaged.
        """
        if not 0 <= start < stop <= self.valid_frames:
            raise InputError(
                f"{self.path}: frames {start} to {stop} (exclusive) are asked for, and frames 0 to {self.valid_frames} "
                f"(exclusive) are valid in this {'complete' if self.complete else 'incomplete'} recording"
            )
        try:
            calcium = zarr.open_array(self.path / "calcium", mode="r")[start:stop]
        except Exception as error:
            raise self._damaged(start, stop, f"{type(error).__name__}: {error}") from error
        if not np.isfinite(calcium).all():  # Zarr reads what is not there as the fill value
            raise self._damaged(start, stop, "frames are missing")
        return calcium

    def _damaged(self, start: int, stop: int, reason: str) -> InputError:
        """Name the shard of the range that cannot be read, or all of them if it takes them together to fail."""
        shards = range(start // FRAMES_PER_SHARD, (stop - 1) // FRAMES_PER_SHARD + 1)
        if len(shards) > 1:
            for shard in shards:
                first = max(start, shard * FRAMES_PER_SHARD)
                try:
                    self.frames(first, min(stop, (shard + 1) * FRAMES_PER_SHARD))
                except InputError as error:
                    return error
        return InputError(
            f"{self.path / 'calcium' / 'c' / str(shards[0])}, frames {start} to {stop} (exclusive), is damaged "
            f"({reason}): remove {self.path} and simulate it anew"
        )

    def time_of(self, frame: int) -> float:
        """Model time of a frame, s."""
        return self.first_frame_time + frame * self.frame_interval


def require_current(path: Path, attributes: Mapping[str, Any]) -> None:
    """Refuse a recording of another version of the model, or of the generator, or of the layout.

    Raises:
        InputError: it is one.
    """
    simulated = attributes["config"].get("kind", SAC) == SAC
    version = ("model_version", MODEL_VERSION) if simulated else ("generator_version", SYNTHETIC_VERSION)
    for name, here in (("format", FORMAT), version):
        if attributes.get(name, 1) != here:
            raise InputError(
                f"{path} has {name} {attributes.get(name, 1)}, and this version of rwtl makes and reads {here}: "
                "simulate it anew, or use the version that made it"
            )


def open_recording(path: Path) -> Recording:
    """Open a recording, complete or not.

    Raises:
        InputError: there is nothing at `path`, something else, or a recording of another version of the model.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist: give the path of a recording, or make one with simulate.py")
    try:
        group = zarr.open_group(path, mode="r")
        attributes, calcium = dict(group.attrs), group["calcium"]
        complete = attributes["complete"]
        require_current(path, attributes)
        return Recording(
            path=path,
            valid_frames=attributes["valid_frames"],
            complete=complete,
            frame_interval=attributes["frame_interval"],
            first_frame_time=attributes["first_frame_time"],
            spacing=attributes["spacing"],
            shape=calcium.shape[1:],
            config=attributes["config"],
        )
    except InputError:
        raise
    except (FileNotFoundError, NotADirectoryError, KeyError, ValueError) as error:
        raise InputError(
            f"{path} is not a recording ({type(error).__name__}: {error}): give the Zarr group that simulate.py wrote"
        ) from error
