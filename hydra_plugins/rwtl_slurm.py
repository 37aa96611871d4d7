"""Hydra's plug-in for SLURM; what it does is in rwtl/sweeps, which is imported only when there are jobs to launch."""

from collections.abc import Sequence

from hydra.core.utils import JobReturn
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher


class RecordedSlurmLauncher(SlurmLauncher):
    """submitit's launcher, which knows what jobs need, survives the death of some, and goes on with those that are
    queued (rwtl.sweeps.slurm).

    Args: see conf/hydra/launcher/slurm.yaml.
    """

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from rwtl.sweeps.slurm import launch_on_slurm

        jobs = {number: list(overrides) for number, overrides in enumerate(job_overrides, start=initial_job_idx)}
        return launch_on_slurm(self, jobs)
