"""Launching the jobs of a sweep on a SLURM cluster, and waiting for them."""

import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn
from omegaconf import DictConfig, open_dict

from rwtl.config import typed
from rwtl.study.jobs import sweep_folder
from rwtl.study.launching import Jobs, launch
from rwtl.study.slurm_config import SlurmConfig
from rwtl.study.slurm_ledger import Ledger
from rwtl.study.slurm_plan import plan_jobs
from rwtl.study.slurm_queue import cancel, queued, require_controller
from rwtl.study.slurm_submit import submit
from rwtl.study.slurm_watch import Watch


def launch_on_slurm(launcher: Any, jobs: Jobs) -> list[JobReturn]:
    """Launch jobs, and return when all have ended; what they came to is in the sweep's records.

    Jobs that have nothing to make, or whose configuration is bad, run here and now. Those that an earlier start of the
    same sweep has left in the queue are not submitted again.

    Args:
        launcher: Hydra's SlurmLauncher, set up.
        jobs: overrides by number.

    Raises:
        InputError: A setting is wrong, there is no SLURM here, or it refuses a job; nothing is left in the queue then.
    """
    cfg = launcher.config
    config = typed(SlurmConfig, launcher.params, "hydra.launcher")
    folder, name = sweep_folder(cfg), cfg.sweep
    plan = plan_jobs(cfg.hydra.job.name, {number: _composed(launcher, job) for number, job in jobs.items()})
    if plan.here:
        print(f"sweep {name}: {len(plan.here)} of {len(jobs)} jobs have nothing to make and run here", flush=True)
        here = BasicLauncher()
        here.setup(hydra_context=launcher.hydra_context, task_function=launcher.task_function, config=cfg)
        launch(here, {number: jobs[number] for number in plan.here}, folder)
    if not plan.jobs:
        return []

    require_controller()
    alive = Ledger.read(folder).alive(queued(), {number: jobs[number] for number in plan.jobs})
    arguments = {number: _arguments(number, jobs[number]) for number in plan.jobs}
    made = submit(config, plan, launcher, arguments, alive)
    ledger = Ledger(
        alive.jobs | made.jobs, alive.upstream | made.upstream, {number: jobs[number] for number in plan.jobs}
    )
    try:
        ledger.write(folder)
        print(
            f"sweep {name}: {len(made.jobs)} jobs submitted, {len(made.upstream)} for what they need; "
            f"{len(alive.jobs) + len(alive.upstream)} were in the queue. Logs: {config.submitit_folder}",
            flush=True,
        )
        Watch(name, folder, ledger, plan, lambda job: _log(config.submitit_folder, job), config.poll).follow()
    except KeyboardInterrupt as interrupt:
        _leave(name, [*ledger.jobs.values(), *ledger.upstream.values()], ask=not str(interrupt))
        raise
    return []


def _composed(launcher: Any, overrides: list[str]) -> DictConfig:
    cfg = launcher.hydra_context.config_loader.load_sweep_config(launcher.config, overrides)
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


def _arguments(number: int, overrides: list[str]) -> tuple:
    """What SlurmLauncher calls itself with on the cluster."""
    return overrides, "hydra.sweep.dir", number, f"job_id_for_{number}", Singleton.get_state()


def _log(folder: str, job: str) -> Path:
    return Path(folder.replace("%j", job)) / f"{job}_0_log.out"


def _leave(name: str, jobs: Collection[str], ask: bool) -> None:
    """Ask whether to cancel jobs, where there is somebody to ask; otherwise they go on."""
    ids = " ".join(sorted({job.split("_")[0] for job in jobs}, key=int))
    answer = ""
    if ask and sys.stdin.isatty():
        try:
            answer = input(f"\nsweep {name}: cancel its jobs, queued or running ({ids})? [y/N] ")
        except (KeyboardInterrupt, EOFError):
            answer = ""
    if answer.strip().lower() in ("y", "yes"):
        cancel(jobs)
        print(f"sweep {name}: its jobs are cancelled", flush=True)
    else:
        print(
            f"sweep {name}: its jobs go on; the same line watches them again, and scancel {ids} ends them", flush=True
        )
