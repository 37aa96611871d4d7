"""What to simulate: the values that determine a recording."""

from dataclasses import dataclass

from rwtl.errors import InputError
from rwtl.waves.parameters import SacParameters

# The fast potassium gate makes the equations stiff: the midpoint rule is stable up to 2 τ_N/Λ(V), with the default
# parameters 0.19 ms at V_K, which no cell passes. Leak and after-hyperpolarisation hold a quiet cell above -81 mV,
# where the bound is 0.37 ms, so 0.2 ms is as good in practice, and 0.25 ms keeps a margin.
LARGEST_TIME_STEP = 0.25e-3


@dataclass
class RecordingConfig:
    """What determines a recording. Times in s of model time.

    Attributes:
        rows, columns: cells of the lattice.
        spacing: distance between neighbouring cells, µm; it gives pictures and speeds their scale and does not enter
            the equations.
        duration: simulated in total, a whole number of frame intervals.
        transient: the first part of the duration, simulated but not recorded, a whole number of frame intervals.
        time_step: of the midpoint rule, at most 0.25 ms; 0.2 ms is as accurate as 0.1 ms.
        frame_interval: between recorded frames, a whole number of time steps.
        seed: of the noise, 0 ≤ seed < 2⁶³.
        cell: parameters of every cell.

    Raises:
        InputError: a value is out of range, or the times do not fit each other.
    """

    rows: int
    columns: int
    spacing: float
    duration: float
    transient: float
    time_step: float
    frame_interval: float
    seed: int
    cell: SacParameters

    def __post_init__(self) -> None:
        for name in ("rows", "columns", "spacing", "duration", "time_step", "frame_interval"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"recording.{name} is {getattr(self, name)}: it must be finite and greater than 0")
        if self.rows * self.columns >= 2**31:
            raise InputError(f"recording.rows × recording.columns is {self.rows * self.columns}: stay below 2³¹ cells")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"recording.seed is {self.seed}: it must lie between 0 and 2⁶³ - 1")
        if not 0 <= self.transient < self.duration:
            raise InputError(
                f"recording.transient is {self.transient} s: it must not be negative, and must be shorter than "
                f"recording.duration, {self.duration} s"
            )
        if self.time_step > LARGEST_TIME_STEP:
            raise InputError(
                f"recording.time_step is {self.time_step * 1e3:g} ms: above {LARGEST_TIME_STEP * 1e3:g} ms the fast "
                "potassium current is not integrated stably; take 0.0002 s"
            )
        self._require_multiple("frame_interval", "time_step")
        self._require_multiple("duration", "frame_interval")
        self._require_multiple("transient", "frame_interval")

    def _require_multiple(self, name: str, unit: str) -> None:
        ratio = getattr(self, name) / getattr(self, unit)
        if abs(ratio - round(ratio)) > 1e-6:
            raise InputError(
                f"recording.{name} is {getattr(self, name)} s: it must be a whole number of recording.{unit}, "
                f"{getattr(self, unit)} s"
            )

    @property
    def steps_per_frame(self) -> int:
        """Time steps between frames."""
        return round(self.frame_interval / self.time_step)

    @property
    def simulated_frames(self) -> int:
        """Frame intervals in the duration, the transient included."""
        return round(self.duration / self.frame_interval)

    @property
    def transient_frames(self) -> int:
        """Frame intervals in the transient."""
        return round(self.transient / self.frame_interval)
