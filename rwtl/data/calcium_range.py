"""Percentiles of more calcium than fits into memory."""

import numpy as np
from jaxtyping import Float32

from rwtl.errors import InputError

_DROPPED_BITS = 12  # of 32
_SIGN = np.uint32(1 << 31)


class CalciumHistogram:
    """Counts of calcium values, gathered in one pass and constant memory (8 MB).

    A bin holds the floating-point numbers that share their leading bits: whatever the range, it is as wide as 0.05 % of
    its value.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(1 << (32 - _DROPPED_BITS), np.int64)

    def add(self, frames: Float32[np.ndarray, "frame row column"]) -> None:
        """Count the values of frames, finite, in nM."""
        bits = frames.reshape(-1).view(np.uint32)
        # So that bits grow with the number: of negative ones all are flipped, of others the sign.
        ordered = np.where(bits & _SIGN, ~bits, bits | _SIGN) >> np.uint32(_DROPPED_BITS)
        self._counts += np.bincount(ordered, minlength=len(self._counts))

    def percentile(self, percent: float) -> float:
        """Return the value in nM, the middle of its bin, that `percent` (0..100) of what was counted do not exceed."""
        reached = np.cumsum(self._counts)
        number = max(percent / 100 * reached[-1], 1)
        ordered = np.uint32((int(np.searchsorted(reached, number)) << _DROPPED_BITS) | 1 << (_DROPPED_BITS - 1))
        bits = ordered ^ _SIGN if ordered & _SIGN else ~ordered
        return float(bits.view(np.float32))


def robust_range(histogram: CalciumHistogram, percentiles: list[float]) -> tuple[float, float]:
    """Return the calcium concentrations (nM) at two percentiles.

    Raises:
        InputError: They are the same: hardly anything changes in what was counted.
    """
    low, high = (histogram.percentile(percent) for percent in percentiles)
    if not low < high:
        raise InputError(
            f"clips.percentiles {percentiles} of the training part are both {low:.4g} nM, which leaves no range: widen "
            "them, give clips.calcium_range, or choose another recording"
        )
    return low, high
