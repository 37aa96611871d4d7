"""Progress of long work, and notices of it, as lines that read well in a terminal, in a log file and from several
processes at once. They go to the standard error, so that the standard output holds results alone.

What makes an artifact also tells a file in its folder, which any process on any host may show.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_told: Path | None = None  # the file that hears of the progress in this process; it makes one artifact at a time
_require: Callable[[bool], None] | None = None  # raises where another process has taken that artifact over
_silent = False


@contextmanager
def told(file: Path, require: Callable[[bool], None]) -> Iterator[None]:
    """Let all progress in this process be told to a file within it, which is removed at the end.

    Args:
        file: hears of the progress.
        require: raises where another process has taken over what is made here; it looks at files if its argument says
            so. Whatever is made ends by it at its next progress, or at `require_ours`.
    """
    global _told, _require
    before, _told, _require = (_told, _require), file, require
    try:
        yield
    finally:
        _told, _require = before
        with suppress(OSError):
            file.unlink(missing_ok=True)


def require_ours() -> None:
    """Raise where another process has taken over what this one makes.

    To be called before each change of files that a later job resumes from.
    """
    if _require is not None:
        _require(True)


def read_progress(file: Path) -> dict[str, Any] | None:
    """Return what a file was told last: `done`, `total`, `unit` and `left` (s, None where not known yet); None where
    there is no such file, or it is just being written. A `note`, such as the last loss, may come with them."""
    with suppress(OSError, ValueError):
        said = json.loads(file.read_text(encoding="utf-8"))
        return said if isinstance(said, dict) else None
    return None


def silence(quiet: bool = True) -> None:
    """Print no lines of progress in this process, for something else shows it."""
    global _silent
    _silent = quiet


def is_silent() -> bool:
    """Return whether this process prints no lines of progress."""
    return _silent


def say(line: str) -> None:
    """Print a line of progress, or a notice, on the standard error, at once. Where that fails (nobody reads on, a full
    disk, an encoding without its letters) the work goes on without it.

    In a notebook, which shows errors in red, it goes to the standard output.
    """
    notebook = type(sys.stderr).__module__.startswith("ipykernel")
    with suppress(OSError, ValueError):
        print(line, file=sys.stdout if notebook else sys.stderr, flush=True)


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
        if _require is not None:
            _require(False)
        now = time.monotonic()
        finished = done >= self.total
        if self.origin is None:
            self.origin = (now, float(done))
            self.printed = now
            self._tell(done, None)
        if not finished and (now - self.printed < self.interval or done <= self.origin[1]):
            return
        self.printed = now
        if finished:
            left, clock = 0.0, f"took {clock_of(now - self.started)}"
        else:
            rate = (done - self.origin[1]) / (now - self.origin[0])
            left = (self.total - done) / rate
            clock = f"{clock_of(left)} left"
            clock = f"{rate:.3g}{self.rate} · {clock}" if self.rate else clock
        note = note() if callable(note) else note
        self._tell(done, left, note)
        if _silent:
            return
        note = f" · {note}" if note else ""
        say(f"  {self.label}: {done:g}/{self.total:g} {self.unit} · {clock}{note}")

    def _tell(self, done: int | float, left: float | None, note: str = "") -> None:
        if _told is None:
            return
        draft = _told.with_name(f"{_told.name}.partial")
        with suppress(OSError):  # on a full disk; the work itself will say so
            if done >= self.total:  # what comes next is told anew
                _told.unlink(missing_ok=True)
                return
            said = {"done": done, "total": self.total, "unit": self.unit, "left": left, "note": note}
            draft.write_text(json.dumps(said), encoding="utf-8")
            os.replace(draft, _told)


def clock_of(seconds: int | float) -> str:
    """Return a time as `m:ss`, and from an hour on as `h:mm:ss`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
