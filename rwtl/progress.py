"""Progress of long work as lines that read well in a terminal, in a log file and from several processes at once."""

import time
from collections.abc import Callable


class Progress:
    """Prints at most one line every few seconds: what is done, of how much, and the time left.

    Args:
        label: what is being done, for instance `train freeze_encoder seed 1`.
        total: the amount of work, in `unit`.
        unit: for instance `steps`.
        interval: seconds between lines.
        rate: unit of the work done in a second, to be shown too; for instance ` steps/s`.
    """

    def __init__(self, label: str, total: int | float, unit: str, interval: float = 5.0, rate: str = ""):
        self.label = label
        self.total = total
        self.unit = unit
        self.interval = interval
        self.rate = rate
        self.started = self.printed = time.monotonic()
        self.origin: tuple[float, float] | None = None  # time and amount at the first call: preparation has no rate

    def __call__(self, done: int | float, note: str | Callable[[], str] = "") -> None:
        """Say that so much is done; a note that takes time to make is made only where a line is printed."""
        now = time.monotonic()
        finished = done >= self.total
        if self.origin is None:
            self.origin = (now, float(done))
            self.printed = now
        if not finished and (now - self.printed < self.interval or done <= self.origin[1]):
            return
        self.printed = now
        if finished:
            clock = f"took {_clock(now - self.started)}"
        else:
            rate = (done - self.origin[1]) / (now - self.origin[0])
            clock = f"{_clock((self.total - done) / rate)} left"
            clock = f"{rate:.3g}{self.rate} · {clock}" if self.rate else clock
        note = note() if callable(note) else note
        note = f" · {note}" if note else ""
        print(f"  {self.label}: {done:g}/{self.total:g} {self.unit} · {clock}{note}", flush=True)


def _clock(seconds: int | float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"
