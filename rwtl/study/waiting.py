"""What a job says while another makes what it needs."""

import time
from pathlib import Path

from rwtl.claim import POLL, SKEW, Holder, clock_difference
from rwtl.study.artifact_status import CLAIMS

REMIND = 60.0  # s between messages


class Waiting:
    """Says whom a job waits for, at first and now and then."""

    def __init__(self, label: str, path: Path):
        self.label, self.path = label, path
        self.since = time.monotonic()
        self.said: float | None = None
        self.skew_said = False

    def __call__(self, holder: Holder | None, silence: float) -> None:
        if holder is None:
            return
        clock = time.monotonic()
        if self.said is None:
            print(f"{self.label}: {holder} is making {self.path}; waiting for it", flush=True)
            self.said = clock
        elif clock - self.said > REMIND:
            print(
                f"{self.label}: has waited {clock - self.since:.0f} s for {holder} to make {self.path}; its last sign "
                f"of life was {silence:.0f} s ago",
                flush=True,
            )
            self.said = clock
        elif 0 < silence < 2 * POLL and not self.skew_said:
            self._say_skew(holder)

    def _say_skew(self, holder: Holder) -> None:
        difference = clock_difference(self.path / CLAIMS)
        if abs(difference) > SKEW:
            self.skew_said = True
            print(
                f"{self.label}: the clock of {holder.host} or of the file server is {abs(difference):.0f} s "
                f"{'ahead of' if difference > 0 else 'behind'} this host's: times of artifacts will not compare. "
                "Claims do not depend on clocks",
                flush=True,
            )
