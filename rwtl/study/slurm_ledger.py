"""Which SLURM jobs work for a sweep, in a file beside its records, where whoever starts the sweep again finds them."""

import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE = "slurm_jobs.json"


@dataclass
class Ledger:
    """SLURM jobs of a sweep.

    Args:
        jobs: by number of the sweep's job.
        upstream: by the digest of what they make.
        overrides: of the sweep's jobs, by number.
    """

    jobs: dict[int, str] = field(default_factory=dict)
    upstream: dict[str, str] = field(default_factory=dict)
    overrides: dict[int, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "Ledger":
        """Return what the file in a sweep's folder says; an empty ledger where there is none."""
        try:
            content = json.loads((folder / FILE).read_text())
        except FileNotFoundError:
            return cls()
        numbered = ({int(number): value for number, value in content[key].items()} for key in ("jobs", "overrides"))
        jobs, overrides = numbered
        return cls(jobs, content["upstream"], overrides)

    def write(self, folder: Path) -> None:
        """Write the file in one step."""
        draft = folder / f"{FILE}.draft"
        draft.write_text(json.dumps(asdict(self), indent=2) + "\n")
        os.replace(draft, folder / FILE)

    def alive(self, queued: Collection[str], jobs: Mapping[int, Sequence[str]]) -> "Ledger":
        """Return what of it is still in the queue and of these jobs, whose overrides are given by number."""
        same = {
            number: job
            for number, job in self.jobs.items()
            if job in queued and number in jobs and self.overrides.get(number) == list(jobs[number])
        }
        upstream = {digest: job for digest, job in self.upstream.items() if job in queued}
        return Ledger(same, upstream, {number: self.overrides[number] for number in same})
