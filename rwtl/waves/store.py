"""The read side of a recording."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr
from jaxtyping import Float32

from rwtl.errors import InputError


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
    """

    path: Path
    valid_frames: int
    complete: bool
    frame_interval: float
    first_frame_time: float
    spacing: float
    shape: tuple[int, int]

    def frames(self, start: int, stop: int) -> Float32[np.ndarray, "frame row column"]:
        """Calcium of the frames start ≤ frame < stop, in nM.

        Raises:
            InputError: the range is empty or not within the valid frames.
        """
        if not 0 <= start < stop <= self.valid_frames:
            raise InputError(
                f"{self.path}: frames {start} to {stop} (exclusive) are asked for, and frames 0 to {self.valid_frames} "
                f"(exclusive) are valid in this {'complete' if self.complete else 'incomplete'} recording"
            )
        return zarr.open_array(self.path / "calcium", mode="r")[start:stop]

    def time_of(self, frame: int) -> float:
        """Model time of a frame, s."""
        return self.first_frame_time + frame * self.frame_interval


def open_recording(path: Path) -> Recording:
    """Open a recording, complete or not.

    Raises:
        InputError: there is nothing at `path`, or something else.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist: give the path of a recording, or make one with simulate.py")
    try:
        group = zarr.open_group(path, mode="r")
        attributes, calcium = dict(group.attrs), group["calcium"]
        return Recording(
            path=path,
            valid_frames=attributes["valid_frames"],
            complete=attributes["complete"],
            frame_interval=attributes["frame_interval"],
            first_frame_time=attributes["first_frame_time"],
            spacing=attributes["spacing"],
            shape=calcium.shape[1:],
        )
    except (FileNotFoundError, NotADirectoryError, KeyError, ValueError) as error:
        raise InputError(
            f"{path} is not a recording ({type(error).__name__}: {error}): give the Zarr group that simulate.py wrote"
        ) from error
