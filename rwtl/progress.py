"""Progress of long work as lines that read well in a terminal, in a log file and from several processes at once."""

import time


class Progress:
    """Prints at most one line every few seconds: what is done, of how much, and the time left.

    Args:
        label: what is being done, for instance `train freeze_encoder seed 1`.
        total: the amount of work, in `unit`.
        unit: for instance `steps`.
        interval: seconds between lines.
    """

    def __init__(self, label: str, total: int | float, unit: str, interval: float = 5.0):
        self.label = label
        self.total = total
        self.unit = unit
        self.interval = interval
        self.started = self.printed = time.monotonic()

    def __call__(self, done: int | float, note: str = "") -> None:
        now = time.monotonic()
        finished = done >= self.total
        if done <= 0 or (now - self.printed < self.interval and not finished):
            return
        self.printed = now
        elapsed = now - self.started
        remaining = elapsed * (self.total - done) / done
        clock = f"took {_clock(elapsed)}" if finished else f"{_clock(remaining)} left"
        note = f" · {note}" if note else ""
        print(f"  {self.label}: {done:g}/{self.total:g} {self.unit} · {clock}{note}", flush=True)


def _clock(seconds: int | float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"
