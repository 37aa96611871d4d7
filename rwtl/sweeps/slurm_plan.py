"""What the jobs of a sweep need upstream, and the SLURM jobs that make it.

Jobs could also wait for what another of them makes, as they do side by side on one machine. On a cluster they would
hold their GPU meanwhile, and time out.
"""

import json
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rwtl.errors import InputError
from rwtl.files import write_json
from rwtl.pipeline.artifact import Artifact, build


@dataclass(frozen=True)
class Plan:
    """What is to be done for a sweep.

    Args:
        here: jobs that have nothing to make, or fail before they make anything: they take no time.
        jobs: the kind of the others' results, by number; None for apps that make no artifact.
        needs: digests of what each of them lacks upstream, by number.
        upstream: the artifacts that are missing upstream, by digest, parents first.
        ancestors: digests of what each of `upstream` lacks upstream, by its digest.
    """

    here: list[int] = field(default_factory=list)
    jobs: dict[int, str | None] = field(default_factory=dict)
    needs: dict[int, frozenset[str]] = field(default_factory=dict)
    upstream: dict[str, Artifact] = field(default_factory=dict)
    ancestors: dict[str, frozenset[str]] = field(default_factory=dict)


def plan_jobs(stage: Callable[[DictConfig], Artifact] | None, configs: Mapping[int, DictConfig]) -> Plan:
    """Return what is to be done for jobs of an app.

    Args:
        stage: of the app; None for an app that makes no artifact.
        configs: of the jobs, by number.
    """
    plan = Plan()
    for number, cfg in configs.items():
        if stage is None:
            plan.jobs[number], plan.needs[number] = None, frozenset()
            continue
        try:
            result = stage(cfg)
            missing = result.missing()
        except InputError:
            plan.here.append(number)  # where it says so, and is recorded as failed
            continue
        if not missing:
            plan.here.append(number)
            continue
        for artifact in missing[:-1]:
            plan.upstream.setdefault(artifact.digest, artifact)
            plan.ancestors.setdefault(artifact.digest, _digests(artifact.missing()[:-1]))
        plan.jobs[number], plan.needs[number] = result.kind, _digests(missing[:-1])
    return plan


def _digests(artifacts: Iterable[Artifact]) -> frozenset[str]:
    return frozenset(artifact.digest for artifact in artifacts)


class StageJob:
    """Is called on the cluster, and again after it was queued again.

    Args:
        artifact: of which kind, configuration and digest are sent to the cluster.
    """

    def __init__(self, artifact: Artifact):
        self.kind, self.digest = artifact.kind, artifact.digest
        self.config = OmegaConf.to_container(artifact.config, resolve=False)

    def __call__(self) -> None:
        from rwtl.pipeline.stages import artifact_of  # PyTorch is loaded on the cluster alone

        try:
            build(artifact_of(self.kind, OmegaConf.create(self.config), self.digest))
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
        write_json(folder / FILE, asdict(self))

    def alive(self, queued: Collection[str], jobs: Mapping[int, Sequence[str]]) -> "Ledger":
        """Return what of it is still in the queue and of these jobs, whose overrides are given by number."""
        same = {
            number: job
            for number, job in self.jobs.items()
            if job in queued and number in jobs and self.overrides.get(number) == list(jobs[number])
        }
        upstream = {digest: job for digest, job in self.upstream.items() if job in queued}
        return Ledger(same, upstream, {number: self.overrides[number] for number in same})
