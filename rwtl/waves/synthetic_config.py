"""What every synthetic recording is: frames by formula, on a lattice like that of the cells."""

from dataclasses import dataclass

from rwtl.errors import InputError

# Raised when the same configuration gives other frames: older synthetic recordings are then not read.
SYNTHETIC_VERSION = 1


@dataclass
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

    rows: int
    columns: int
    spacing: float
    duration: float
    frame_interval: float
    seed: int

    def __post_init__(self) -> None:
        for name in ("rows", "columns", "spacing", "duration", "frame_interval"):
            self.require_positive(name)
        if not 0 <= self.seed < 2**63:
            raise InputError(f"recording.seed is {self.seed}: it must lie between 0 and 2⁶³ - 1")
        if abs(self.duration / self.frame_interval - self.recorded_frames) > 1e-6:
            raise InputError(
                f"recording.duration is {self.duration} s: it must be a whole number of recording.frame_interval, "
                f"{self.frame_interval} s"
            )

    @property
    def recorded_frames(self) -> int:
        """Frames of the recording."""
        return round(self.duration / self.frame_interval)

    @property
    def diagonal(self) -> float:
        """Between opposite corners of the lattice, in sites."""
        return ((self.rows - 1) ** 2 + (self.columns - 1) ** 2) ** 0.5

    def require_positive(self, name: str) -> None:
        """Refuse a value that is not finite and greater than 0."""
        if not 0 < getattr(self, name) < float("inf"):
            raise InputError(f"recording.{name} is {getattr(self, name)}: it must be finite and greater than 0")

    def require_range(self, name: str, above: float) -> None:
        """Refuse what is not two values, the second no less than the first, both finite and above `above`."""
        values = list(getattr(self, name))
        if len(values) != 2 or not above < values[0] <= values[1] < float("inf"):
            raise InputError(f"recording.{name} is {values}: give two finite values above {above:g}, the lower first")
