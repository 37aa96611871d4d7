"""Warnings about a recording, in plain sentences with figures and remedies."""

import math

import numpy as np
from jaxtyping import Float

from rwtl.waves.measure.statistics import WaveStatistics
from rwtl.waves.store import SAC

# Share of the cells that are active on average over the second half of the recording.
_DEPOLARISED_ABOVE = 0.5
# Onsets per cell and minute; retinal waves come every 0.5 to 2 minutes.
_SILENT_BELOW = 0.1
# Half of the lattice that becomes active in less is not recruited by travelling waves: even the fastest fronts of the
# model, of 4.3 sites/s, travel less than nine sites in 2 s, and those of the default recording fewer than five.
_SYNCHRONOUS_WITHIN = 2.0  # s
_FASTEST_FRONT = 5.0  # sites/s
_SMALLEST = 8  # cells across the lattice; on fewer a wave is soon everywhere
# Onsets of a cell in a third of the recording; one more or less is the phase of its waves.
_DRIFT_ABOVE = 1.5
# Correlation of the calcium of neighbours: 0 where cells rest and differ by noise alone, 0.9 in the wake of waves.
_NO_TRACE_BELOW, _TRACE_ABOVE = 0.2, 0.5
_LATER_FRAMES = 20


def verdict(statistics: WaveStatistics) -> list[str]:
    """Warnings about a recording that is silent, depolarised, synchronous or in its transient; none if it is good.

    - Depolarised: over the second half, more than half of the cells are active on average.
    - Silent: fewer than 0.1 onsets per cell and minute.
    - Synchronous: half of the lattice becomes active within 2 s, or on a small lattice within the time that a straight
      front of 5 sites/s takes to cross half of it. Not looked for on lattices fewer than 8 cells across.
    - In its transient: the lattice is synchronous in the first third only; or the first frame, unlike later ones, shows
      no trace of a wave; or the first third has 1.5 onsets per cell more or fewer than its share.

    A synthetic recording has no warnings: it is what its configuration says.
    """
    if statistics.recording.kind != SAC:
        return []
    cell, active = statistics.recording.config["cell"], statistics.activity.active_fraction
    later_active = float(active[len(active) // 2 :].mean())
    if later_active > _DEPOLARISED_ABOVE:
        return [
            f"Depolarised: over the second half of the recording {later_active:.0%} of the cells are active (above "
            f"{statistics.active_above:g} nM) on average, where waves leave most cells at rest. Reduce "
            f"recording.cell.g_A, now {cell['g_A']:g} nS, or recording.cell.I_ext, now {cell['I_ext']:g} pA."
        ]
    if statistics.onset_rate < _SILENT_BELOW:
        return [
            f"Silent: {len(np.unique(statistics.activity.cell))} of {statistics.size} cells became active in "
            f"{statistics.duration:g} s, which is {statistics.onset_rate:.2g} onsets per cell and minute, where "
            f"retinal waves give 0.5 to 2. Raise recording.cell.sigma, now {cell['sigma']:g} pA·ms^½, or "
            f"recording.cell.I_ext, now {cell['I_ext']:g} pA; or record for longer, recording.duration."
        ]
    events = _synchronous_events(statistics)
    if not any(start > _first_third_ends(statistics) for start, _ in events):
        return _transient(statistics, events)
    time = np.sort(statistics.activity.time)
    together = sum(np.searchsorted(time, end, "right") - np.searchsorted(time, start) for start, end in events)
    return [
        f"Synchronous: {'once' if len(events) == 1 else f'{len(events)} times'} half of the cells became active within "
        f"{_recruitment_time(statistics):.2g} s, faster than fronts can recruit them, first at {events[0][0]:.1f} s of "
        f"model time; {together / len(time):.0%} of all onsets are part of it. Reduce recording.cell.sigma, now "
        f"{cell['sigma']:g} pA·ms^½, or recording.cell.I_ext, now {cell['I_ext']:g} pA."
    ]


def _synchronous_events(statistics: WaveStatistics) -> list[tuple[float, float]]:
    """Start and end, s of model time, of each time in which half of the lattice becomes active too fast to be waves."""
    if min(statistics.recording.shape) < _SMALLEST:
        return []
    half = math.ceil(statistics.size / 2)
    time = np.sort(statistics.activity.time)
    starts, ends = time[: max(0, len(time) - half + 1)], time[half - 1 :]
    fast = ends - starts <= _recruitment_time(statistics)
    events: list[tuple[float, float]] = []
    for start, end in zip(starts[fast].tolist(), ends[fast].tolist(), strict=True):
        if events and start <= events[-1][1]:
            events[-1] = (events[-1][0], end)
        else:
            events.append((start, end))
    return events


def _neighbour_correlation(calcium: Float[np.ndarray, "row column"]) -> float:
    """Correlation of calcium between neighbouring cells over a frame; 0 where all cells are alike."""
    pairs = [(calcium[1:], calcium[:-1]), (calcium[:, 1:], calcium[:, :-1])]
    first, second = (np.concatenate([side.ravel() for side in sides]) for sides in zip(*pairs, strict=True))
    if first.size == 0:
        return 0.0
    first, second = first - first.mean(dtype=float), second - second.mean(dtype=float)
    scale = np.sqrt(np.mean(first**2) * np.mean(second**2))
    return float(np.mean(first * second) / scale) if scale > 0 else 0.0


def _recruitment_time(statistics: WaveStatistics) -> float:
    """Shortest time in which travelling waves can make half of the lattice active, s."""
    return min(_SYNCHRONOUS_WITHIN, min(statistics.recording.shape) / 2 / _FASTEST_FRONT)


def _first_third_ends(statistics: WaveStatistics) -> float:
    return statistics.recording.time_of(0) + statistics.duration / 3


def _transient(statistics: WaveStatistics, events: list[tuple[float, float]]) -> list[str]:
    """Warnings about the first third; `events` are the synchronous ones."""
    recording, onsets = statistics.recording, statistics.onsets
    transient = recording.config["transient"]
    warnings = []
    if events:
        warnings.append(
            f"In its transient: at {events[0][0]:.1f} s of model time half of the cells became active within "
            f"{_recruitment_time(statistics):.2g} s, faster than fronts can recruit them, and later never again. Leave "
            f"out {_tens(events[-1][1])} s or more: recording.transient, now {transient:g} s."
        )
    first = _neighbour_correlation(recording.frames(0, 1)[0])
    numbers = np.linspace(recording.valid_frames // 3, recording.valid_frames - 1, _LATER_FRAMES).astype(int).tolist()
    later = float(np.median([_neighbour_correlation(recording.frames(n, n + 1)[0]) for n in numbers]))
    if first < _NO_TRACE_BELOW and later > _TRACE_ABOVE:
        end = onsets.time[onsets.event == 0].max()
        warnings.append(
            f"In its transient: no wave had crossed the lattice before the recording starts. In its first frame the "
            f"calcium of neighbouring cells has the correlation {first:.2f}, later {later:.2f}. Leave out the first "
            f"event, {_tens(end)} s or more: recording.transient, now {transient:g} s."
        )
    early = float(np.sum(onsets.time <= _first_third_ends(statistics))) / statistics.size
    rest = len(onsets) / statistics.size - early
    if abs(early - rest / 2) > _DRIFT_ABOVE:
        warnings.append(
            f"In its transient: the first third of the recording has {early:.1f} onsets per cell, and a third of the "
            f"same length after it {rest / 2:.1f}. Leave out more: recording.transient, now {transient:g} s."
        )
    return warnings


def _tens(time: float) -> str:
    """A time rounded up to 10 s."""
    return f"{math.ceil(time / 10) * 10:g}"
