"""One pass over a recording: when each cell becomes active, how many are active, and how calcium is distributed."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from rwtl.errors import InputError
from rwtl.waves.config import FRAMES_PER_SHARD
from rwtl.waves.store import Recording

_CALCIUM_BINS = 5000  # of 1 nM; the last one also holds everything above
_TRACED_CELLS = 6


@dataclass(frozen=True)
class Activity:
    """Results of one pass over a recording.

    Attributes:
        time: time of every onset, s of model time; onsets are sorted by cell, then by time.
        cell: cell of every onset, row * columns + column.
        active_fraction: share of the cells that are active in each frame.
        calcium_counts: values in each bin of 1 nM; bin k holds k ≤ calcium < k + 1.
        calcium_min, calcium_max: over all cells and frames, nM.
        traced: a few cells along the middle row, whose delays show how waves travel.
        traces: calcium of those cells in each frame, nM.
    """

    time: Float64[np.ndarray, "onset"]
    cell: Int64[np.ndarray, "onset"]
    active_fraction: Float64[np.ndarray, "frame"]
    calcium_counts: Int64[np.ndarray, "bin"]
    calcium_min: float
    calcium_max: float
    traced: Int64[np.ndarray, "traced"]
    traces: Float32[np.ndarray, "frame traced"]


def find_activity(recording: Recording, active_above: float, rearm_below: float) -> Activity:
    """Find the onsets of every cell over the valid frames.

    An onset is an upward crossing of `active_above`, interpolated linearly between two frames. The next onset of a cell
    counts only after its calcium was below `rearm_below`, so that a burst whose calcium wavers about the threshold is
    one onset. A cell that is above `rearm_below` in the first frame is in a burst whose onset was not recorded.

    Args:
        recording: a recording with at least one valid frame.
        active_above, rearm_below: nM.

    Raises:
        InputError: the recording has no valid frame, or rearm_below is above active_above.
    """
    recording.require_frames()
    if not rearm_below <= active_above:
        raise InputError(f"rearm_below is {rearm_below} nM: it must not exceed active_above, {active_above} nM")
    rows, columns = recording.shape
    armed = np.zeros(rows * columns, bool)
    previous = np.full(armed.shape, np.inf, np.float32)
    count = min(_TRACED_CELLS, columns)
    traced = rows // 2 * columns + ((np.arange(count) + 0.5) * columns / count).astype(np.int64)
    positions, cells, active, traces = [], [], [], []
    counts = np.zeros(_CALCIUM_BINS, np.int64)
    lowest, highest = np.inf, -np.inf
    for start in range(0, recording.valid_frames, FRAMES_PER_SHARD):  # memory does not grow with the duration
        chunk = recording.frames(start, min(start + FRAMES_PER_SHARD, recording.valid_frames))
        lowest, highest = min(lowest, chunk.min()), max(highest, chunk.max())
        for index, frame in enumerate(chunk.reshape(len(chunk), -1), start):
            counts += np.bincount(frame.astype(np.int32).clip(0, _CALCIUM_BINS - 1), minlength=_CALCIUM_BINS)
            above = frame > active_above
            active.append(above.mean())
            traces.append(frame[traced])
            crossed = np.flatnonzero(above & armed)
            before, after = previous[crossed], frame[crossed]
            positions.append(index - 1 + ((active_above - before) / (after - before)).astype(np.float64))
            cells.append(crossed)
            armed[crossed] = False
            armed |= frame < rearm_below
            previous = frame
    time = recording.first_frame_time + np.concatenate(positions) * recording.frame_interval
    cell = np.concatenate(cells).astype(np.int64)
    order = np.lexsort((time, cell))
    return Activity(
        time=time[order],
        cell=cell[order],
        active_fraction=np.array(active),
        calcium_counts=counts,
        calcium_min=float(lowest),
        calcium_max=float(highest),
        traced=traced,
        traces=np.array(traces),
    )


def calcium_quantiles(activity: Activity, shares: list[float]) -> list[float]:
    """Quantiles of calcium over all cells and frames, nM, to within 1 nM below 5000 nM."""
    edges = np.arange(len(activity.calcium_counts) + 1)
    cumulative = np.concatenate([[0], np.cumsum(activity.calcium_counts)]) / activity.calcium_counts.sum()
    values = np.interp(shares, cumulative, edges)
    return values.clip(activity.calcium_min, activity.calcium_max).tolist()
