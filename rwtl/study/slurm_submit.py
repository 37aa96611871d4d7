"""Handing jobs to SLURM through submitit."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from submitit import AutoExecutor
from submitit.core.utils import FailedJobError, FailedSubmissionError

from rwtl.errors import InputError
from rwtl.study.slurm_config import SlurmConfig, parameters
from rwtl.study.slurm_ledger import Ledger
from rwtl.study.slurm_plan import Plan
from rwtl.study.slurm_queue import cancel, command
from rwtl.study.slurm_stage import StageJob


def submit(
    config: SlurmConfig, plan: Plan, run: Callable[..., Any], arguments: Mapping[int, tuple], ledger: Ledger
) -> Ledger:
    """Submit what is missing upstream, and the jobs of a plan so that each begins when what it needs is there.

    Jobs that need the same, and make results of one kind, are one array.

    Args:
        config: what is asked for.
        plan: jobs and upstream. Those that the ledger knows are not submitted again.
        run: what a job calls.
        arguments: with which, by number.
        ledger: the SLURM jobs that are queued already.

    Returns:
        The jobs that were submitted.

    Raises:
        InputError: SLURM refuses one; then all that were submitted here are cancelled.
    """
    made = Ledger()
    try:
        with _readable(config):
            for digest, step in plan.upstream.items():
                if digest not in ledger.upstream:
                    after = _known(plan.ancestors[digest], ledger, made)
                    executor = _executor(config, step.kind, f"{config.name}-{step.kind}", after)
                    made.upstream[digest] = executor.submit(StageJob(step.kind, step.config, digest)).job_id
            for (kind, needs), numbers in _groups(plan, ledger).items():
                executor = _executor(config, kind, config.name, _known(needs, ledger, made))
                jobs = executor.map_array(run, *zip(*(arguments[number] for number in numbers), strict=True))
                made.jobs |= {number: job.job_id for number, job in zip(numbers, jobs, strict=True)}
    except BaseException:
        cancel([*made.upstream.values(), *made.jobs.values()])
        raise
    return made


def _groups(plan: Plan, ledger: Ledger) -> dict[tuple[str | None, frozenset[str]], list[int]]:
    groups: dict[tuple[str | None, frozenset[str]], list[int]] = {}
    for number, job in plan.jobs.items():
        if number not in ledger.jobs:
            groups.setdefault((job.kind, job.needs), []).append(number)
    return groups


def _known(digests: Iterable[str], *ledgers: Ledger) -> list[str]:
    """The SLURM jobs that make artifacts."""
    return [ledger.upstream[digest] for ledger in ledgers for digest in sorted(digests) if digest in ledger.upstream]


def _executor(config: SlurmConfig, kind: str | None, name: str, after: list[str]) -> AutoExecutor:
    resources = config.resources(kind)
    executor = AutoExecutor(config.submitit_folder, "slurm", slurm_max_num_timeout=resources.max_num_timeout)
    executor.update_parameters(**parameters(config, resources, name, after))
    return executor


@contextmanager
def _readable(config: SlurmConfig) -> Iterator[None]:
    try:
        yield
    except (FailedJobError, FailedSubmissionError) as error:
        raise InputError(_refused(str(error))) from error
    except OSError as error:
        raise InputError(
            f"cannot write to {config.submitit_folder} ({error.strerror}); set paths.outputs to a folder that all "
            "nodes share"
        ) from error


def _refused(message: str) -> str:
    said = " ".join(line.removeprefix("sbatch: error: ") for line in message.splitlines() if line.strip())
    remedy = ""
    if "partition" in said:
        partitions = sorted(set(command("sinfo", "--noheader", "--format=%R").split()))
        remedy = f"; hydra.launcher.partition is one of {', '.join(partitions)}"
    if "ccount" in said:
        remedy += "; set hydra.launcher.account to one that you may use (sacctmgr show associations user=$USER)"
    return f"SLURM refuses a job, and nothing was submitted: {said}{remedy}"
