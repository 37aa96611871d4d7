"""Signals that ask a training to end: they wait until it can be gone on with from where it is."""

import os
import signal
import threading
from types import FrameType
from typing import Any

# Of a SLURM job, before its time limit and where it must make room: what submitit asks SLURM to send.
PREEMPT_SIGNAL = "SUBMITIT_PREEMPT_SIGNAL"
STDERR = 2


class Interruption:
    """Holds back Ctrl-C, SIGTERM and SLURM's warning until `deliver`; the same signal again is not held back.

    A context manager, to be used in the main thread; in another it does nothing. A signal that is ignored stays so.

    Attributes:
        pending: the signal that waits, or None.
    """

    def __init__(self) -> None:
        self.pending: signal.Signals | None = None
        self._frame: FrameType | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, _preempt_signal()):
                before = signal.getsignal(number)
                caught = before is not signal.SIG_DFL or number is not _preempt_signal()
                if caught and before not in (signal.SIG_IGN, None):
                    self._before[number] = before
        return self

    def hold(self) -> None:
        """Begin to hold signals back; to be called again when somebody else has set handlers since."""
        for number in self._before:
            signal.signal(number, self._hold)

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        if self.pending == number:
            self.deliver()
            return
        self.pending, self._frame = signal.Signals(number), frame
        # Not print: its lock may be held by what the signal has interrupted.
        os.write(STDERR, f"\n  {self.pending.name}: saves, then ends; again to end at once\n".encode())

    def deliver(self) -> None:
        """Hand a signal that waits to who would have had it: that may end the process, or raise."""
        if self.pending is None:
            return
        number, self.pending = self.pending, None
        before = self._before[number]
        if before is signal.SIG_DFL:
            signal.signal(number, before)
            os.kill(os.getpid(), number)
        else:
            before(number, self._frame)


def _preempt_signal() -> signal.Signals:
    return signal.Signals["SIG" + os.environ.get(PREEMPT_SIGNAL, "USR2")]
