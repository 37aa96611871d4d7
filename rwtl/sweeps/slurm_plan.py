"""What the jobs of a sweep need upstream, and the SLURM jobs that make it.

Jobs could also wait for what another of them makes, as they do side by side on one machine. On a cluster they would
hold their GPU meanwhile, and time out.
"""

import json
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rwtl.errors import InputError
from rwtl.pipeline.artifact import Step
from rwtl.pipeline.planning import APPS, planned


@dataclass(frozen=True)
class Planned:
    """A job of a sweep that has something to make.

    Args:
        kind: of its result; None where that is not known, or of several kinds.
        needs: digests of what is missing upstream.
    """

    kind: str | None
    needs: frozenset[str]


@dataclass(frozen=True)
class Plan:
    """What is to be done for a sweep.

    Args:
        here: jobs that have nothing to make, or fail before they make anything: they take no time.
        jobs: the others, by number.
        upstream: what is missing upstream, by digest, parents first.
        ancestors: of each of `upstream`, what is missing upstream of it.
    """

    here: list[int] = field(default_factory=list)
    jobs: dict[int, Planned] = field(default_factory=dict)
    upstream: dict[str, Step] = field(default_factory=dict)
    ancestors: dict[str, frozenset[str]] = field(default_factory=dict)


def plan_jobs(app: str, configs: Mapping[int, DictConfig]) -> Plan:
    """Return what is to be done for jobs of an app with these configurations, by their numbers."""
    plan = Plan()
    for number, cfg in configs.items():
        if app not in APPS:
            plan.jobs[number] = Planned(None, frozenset())
            continue
        try:
            steps = planned(app, cfg)
        except InputError:
            plan.here.append(number)  # where it says so, and is recorded as failed
            continue
        parents = {parent for step in steps for parent in step.parents}
        missing = [step for step in steps if step.state != "complete"]
        if not missing:
            plan.here.append(number)
            continue
        upstream = {step.digest: step for step in missing if step.digest in parents}
        for digest, step in upstream.items():
            plan.upstream.setdefault(digest, step)
            plan.ancestors.setdefault(digest, _ancestors(step, upstream))
        kinds = {step.kind for step in steps if step.digest not in parents}
        plan.jobs[number] = Planned(kinds.pop() if len(kinds) == 1 else None, frozenset(upstream))
    return plan


def _ancestors(step: Step, upstream: Mapping[str, Step]) -> frozenset[str]:
    direct = [parent for parent in step.parents if parent in upstream]
    return frozenset(direct).union(*(_ancestors(upstream[parent], upstream) for parent in direct))


class StageJob:
    """Is called on the cluster, and again after it was queued again.

    Args:
        kind, config, digest: those of the artifact's Step.
    """

    def __init__(self, kind: str, config: DictConfig, digest: str):
        self.kind, self.digest = kind, digest
        self.config = OmegaConf.to_container(config, resolve=False)

    def __call__(self) -> None:
        from rwtl.pipeline.planning import make_step

        try:
            make_step(self.kind, OmegaConf.create(self.config), self.digest)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            raise

    def checkpoint(self) -> Any:
        """What submitit queues again: the artifact itself is what is gone on with."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


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
