"""Values that determine a recording: of a simulation, and of synthetic ones."""

from dataclasses import field
from math import cosh
from typing import Annotated

from rwtl.sections import Count, LongSeed, NotNegative, OneOf, Positive, Unfit, section
from rwtl.waves.model.parameters import SacParameters
from rwtl.waves.model.state import StartConfig
from rwtl.waves.model.tissue import CouplingConfig, cell_values

# A frame is a chunk of the recording, so that any frame is read alone; a shard is a file, so that there are few files.
FRAMES_PER_SHARD = 64
# The kind of a recording of simulated starburst amacrine cells, and those of `synthetic.GENERATORS`.
SAC = "sac"
SYNTHETIC_KINDS = ("moving_shapes", "fronts")
# Raised when the same configuration gives other frames: older synthetic recordings are then not read.
SYNTHETIC_VERSION = 1

# The extent of the region of absolute stability along the negative real axis, in units of 1/step (Hairer & Wanner,
# Solving Ordinary Differential Equations II, section IV.2).
STABILITY = {"midpoint": 2.0, "rk4": 2.785}
_ABOVE_V_K = 5.0  # mV by which leak and after-hyperpolarisation hold a cell above the potassium potential, at least
# s. Acetylcholine changes over 1/mu_A = 0.5 s; refreshing its sum every millisecond moves calcium by 0.3 nM.
COUPLING_INTERVAL = 1e-3

# Matplotlib's colour map of calcium: blue is low, red is high. All pictures have it, and so have the frames that models
# are trained on where `clips.colour` is blue_red.
WAVE_COLOURS = "coolwarm"


def largest_time_step(method: str, cell: SacParameters) -> float:
    """The largest step (s) at which the fast potassium gate, the stiffest equation, is integrated stably.

    The gate relaxes with Λ(V)/τ_N, Λ = cosh((V - V_3)/(2 V_4)), fastest far from V_3: at 5 mV above V_K, which no
    cell passes in practice.
    """
    fastest = cosh((cell.V_K + _ABOVE_V_K - cell.V_3) / (2 * cell.V_4)) / (cell.tau_N * 1e-3)
    return STABILITY[method] / fastest


def require_multiple(recorded: "RecordingConfig | SyntheticConfig", name: str, unit: str) -> None:
    """Refuse a time of a section that is no whole number of another of its times."""
    value, each = getattr(recorded, name), getattr(recorded, unit)
    if abs(value / each - round(value / each)) > 1e-6:
        raise Unfit(f"{name} is {value} s; it must be a whole number of {unit}, {each} s")


@section("recording")
class RecordingConfig:
    """What determines a recording. Times in s of model time.

    Attributes:
        rows, columns: cells of the lattice.
        spacing: distance between neighbouring cells, µm; it gives pictures, speeds and the start their scale and does
            not enter the equations.
        duration: simulated in total, a whole number of frame intervals.
        transient: the first part of the duration, simulated but not recorded, a whole number of frame intervals.
        time_step: of the integration, below the bound of stability; 0.2 ms is as accurate as 0.1 ms.
        frame_interval: between recorded frames, a whole number of time steps.
        seed: of the noise, 0 ≤ seed < 2⁶³.
        cell: parameters of every cell, or their means.
        method: `midpoint` (second order) or `rk4` (fourth); first-order methods change the speed of the waves.
        coupling: who hears whom.
        spread: standard deviation of the parameters that differ between cells, each in its own unit.
        start: the state at time 0.
        lattice_seed: of the spread and of a random start, so that the same tissue can have other noise.

    Raises:
        InputError: a value is out of range, or the times do not fit each other.

    >>> rwtl.RecordingConfig(rows=24, columns=24, duration=6, transient=1).recorded_frames
    50
    """

    rows: Count = 96
    columns: Count = 96
    spacing: Positive = 50.0
    duration: Positive = 120.0
    transient: NotNegative = 30.0
    time_step: Positive = 2e-4
    frame_interval: Positive = 0.1
    seed: LongSeed = 0
    cell: SacParameters = field(default_factory=SacParameters)
    # Methods of first order slow the waves: at 0.1 ms from 2.34 to 2.14 cells/s, and at 0.5 ms they stop.
    method: Annotated[str, OneOf(STABILITY)] = "midpoint"
    coupling: CouplingConfig = field(default_factory=CouplingConfig)
    spread: dict[str, NotNegative] = field(default_factory=dict)
    start: StartConfig = field(default_factory=StartConfig)
    lattice_seed: LongSeed = 0

    def __post_init__(self) -> None:
        if self.rows * self.columns >= 2**31:
            raise Unfit(f"rows × columns is {self.rows * self.columns}; stay below 2³¹ cells")
        if self.transient >= self.duration:
            raise Unfit(f"transient is {self.transient} s; it must be shorter than duration, {self.duration} s")
        largest = largest_time_step(self.method, self.cell)
        if self.time_step > largest:
            raise Unfit(
                f"time_step is {self.time_step * 1e3:g} ms; above {largest * 1e3:.3g} ms the fast potassium current is "
                f"not integrated stably by the method {self.method}: take 0.0002 s"
            )
        require_multiple(self, "frame_interval", "time_step")
        require_multiple(self, "duration", "frame_interval")
        require_multiple(self, "transient", "frame_interval")
        cell_values(1, self.cell, self.spread, self.lattice_seed)

    @property
    def steps_per_frame(self) -> int:
        """Time steps between frames."""
        return round(self.frame_interval / self.time_step)

    @property
    def steps_per_coupling(self) -> int:
        """Time steps between refreshes of the cells' input: about a millisecond, and a whole number of them to a frame,
        so that a simulation can be cut at any frame."""
        most = max(1, round(COUPLING_INTERVAL / self.time_step))
        return next(steps for steps in range(most, 0, -1) if self.steps_per_frame % steps == 0)

    @property
    def simulated_frames(self) -> int:
        """Frame intervals in the duration, the transient included."""
        return round(self.duration / self.frame_interval)

    @property
    def transient_frames(self) -> int:
        """Frame intervals in the transient."""
        return round(self.transient / self.frame_interval)

    @property
    def recorded_frames(self) -> int:
        """Frames of the recording."""
        return self.simulated_frames - self.transient_frames

    def has_snapshot(self, frame: int) -> bool:
        """Whether the state is kept after so many simulated frame intervals: where a shard of the recording ends."""
        return (frame - self.transient_frames) % FRAMES_PER_SHARD == 0


@section("recording")
class SyntheticConfig:
    """The size of a synthetic recording, and its seed. Frame k is at k · frame_interval of its time.

    Attributes:
        rows, columns: of the lattice, in sites.
        spacing: distance between neighbouring sites, µm; it gives pictures and speeds their scale alone.
        duration: s, a whole number of frame intervals.
        frame_interval: between frames, s.
        seed: decides what moves; what moves before a given time is the same for any duration. 0 ≤ seed < 2⁶³.

    Raises:
        InputError: a value is out of range.
    """

    rows: Count
    columns: Count
    spacing: Positive
    duration: Positive
    frame_interval: Positive
    seed: LongSeed

    def __post_init__(self) -> None:
        require_multiple(self, "duration", "frame_interval")

    @property
    def recorded_frames(self) -> int:
        """Frames of the recording."""
        return round(self.duration / self.frame_interval)

    @property
    def diagonal(self) -> float:
        """Between opposite corners of the lattice, in sites."""
        return ((self.rows - 1) ** 2 + (self.columns - 1) ** 2) ** 0.5
