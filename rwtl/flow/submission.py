"""Estimated flow in the files that the benchmarks' servers accept."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from rwtl.errors import InputError
from rwtl.flow.files import check_finite, write_flo, write_kitti_flow


def write_sintel(
    folder: str | Path, render: str, sequence: str, frame: int, flow: Float32[np.ndarray, "2 h w"]
) -> Path:
    """Write `folder/render/sequence/frame0001.flo`, as MPI-Sintel's server expects it, and return its path.

    Args:
        folder: Folder of the submission; what is missing of it is made, and an existing file is replaced.
        render: `clean` or `final`.
        sequence: Such as `ambush_1`.
        frame: Number of the pair's first frame, from 1.
        flow: Displacement in px: `[0]` is x to the right, `[1]` is y down.

    Raises:
        InputError: The render is neither, the frame is below 1, or the flow holds a value that is not finite.
    """
    if render not in ("clean", "final"):
        raise InputError(f"Sintel's render is {render!r}; choose clean or final.")
    if frame < 1:
        raise InputError(f"Sintel's frame of {sequence} is {frame}; frames are numbered from 1.")
    path = Path(folder) / render / sequence / f"frame{frame:04d}.flo"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_flo(path, flow)
    return path


KITTI_LIMITS = (-512.0, 511.984375)  # px, what its format holds


def write_kitti(folder: str | Path, name: str, flow: Float32[np.ndarray, "2 h w"]) -> Path:
    """Write `folder/000000_10.png`, as KITTI's server expects it with flow at every pixel, and return its path.

    Args:
        folder: Folder of the submission; what is missing of it is made, and an existing file is replaced.
        name: Of the pair, such as `000000_10`.
        flow: Displacement in px: `[0]` is x to the right, `[1]` is y down; rounded to 1/64 px, and what lies outside
            of KITTI_LIMITS to the nearer of them.

    Raises:
        InputError: A value is not finite.
    """
    path = Path(folder) / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    check_finite(flow, path)  # an infinite one is no long displacement
    write_kitti_flow(path, flow.clip(*KITTI_LIMITS), np.ones_like(flow[0]))
    return path


def beyond(flow: Float32[np.ndarray, "2 h w"], limits: tuple[float, float]) -> int:
    """Return how many pixels have a component outside of the limits, px."""
    return int(((flow < limits[0]) | (flow > limits[1])).any(axis=0).sum())
