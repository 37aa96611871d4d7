"""What the jobs of a sweep need upstream: that is made by jobs of its own, once, with the resources of its stage.

Jobs could also wait for what another of them makes, as they do side by side on one machine. On a cluster they would
hold their GPU meanwhile, and time out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from omegaconf import DictConfig

from rwtl.errors import InputError
from rwtl.study.artifact import Step
from rwtl.study.planning import APPS, planned


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
