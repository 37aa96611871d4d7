"""What a SLURM cluster is asked for: for each kind of result its own."""

from collections.abc import Sequence
from dataclasses import asdict, field, fields
from typing import Any

from rwtl.errors import InputError
from rwtl.pipeline.status import FORMAT
from rwtl.sections import Count, Natural, Positive, Unfit, section, typed

SHARED = ("gpus_per_node", "cpus_per_task", "mem_gb", "timeout_min")  # what AutoExecutor asks of any cluster


@section("executor")
class SlurmResources:
    """What one job asks for. None leaves a choice to the cluster.

    Args:
        partition, account, qos, constraint: as sbatch's.
        gpus_per_node: GPUs of the job, which has one node.
        cpus_per_task: CPUs of the job.
        mem_gb: memory, GB.
        timeout_min: time limit, min.
        signal_delay_s: how long before the limit the job saves and is queued again, s.
        max_num_timeout: how often a job that ran into its limit is queued again.
        array_parallelism: jobs of an array at once.
        setup: shell lines before the job.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gpus_per_node: Natural | None = None
    cpus_per_task: Count | None = None
    mem_gb: Positive | None = None
    timeout_min: Count = 240
    signal_delay_s: Count = 120
    max_num_timeout: Natural = 20
    array_parallelism: Count = 64
    setup: list[str] = field(default_factory=list)

    def __post_init__(self):
        if self.signal_delay_s >= 60 * self.timeout_min:
            raise Unfit(
                f"signal_delay_s is {self.signal_delay_s}, which is no less than timeout_min="
                f"{self.timeout_min}: a job would be queued again as soon as it begins"
            )


@section("executor")
class SlurmConfig(SlurmResources):
    """The section `executor` of executor=slurm, and `hydra.launcher` of hydra/launcher=slurm.

    Args: those of SlurmResources, and
        submitit_folder: of scripts and logs, with %j for the job; all nodes must see it.
        name: of the jobs; None for the app's.
        additional_parameters: other options of sbatch.
        poll: time between looks at the queue, s.
        stages: by kind of result, the resources that differ.
    """

    submitit_folder: str = "slurm/%j"
    name: str | None = None
    additional_parameters: dict[str, Any] = field(default_factory=dict)
    poll: Positive = 10.0
    stages: dict[str, dict[str, Any] | None] = field(default_factory=dict)

    def __post_init__(self):
        super().__post_init__()
        for kind in self.stages:
            if kind not in FORMAT:
                raise Unfit(f"stages.{kind} is no stage; choose one of {', '.join(FORMAT)}")
            try:
                self.resources(kind)
            except InputError as error:
                raise Unfit(str(error)) from error

    def resources(self, kind: str) -> SlurmResources:
        """Return what a job asks for that makes an artifact of this kind."""
        shared = {each.name: getattr(self, each.name) for each in fields(SlurmResources)}
        return typed(SlurmResources, shared | (self.stages.get(kind) or {}), f"stages.{kind}")


def parameters(config: SlurmConfig, resources: SlurmResources, name: str, after: Sequence[str]) -> dict[str, Any]:
    """Return the parameters of submitit's AutoExecutor for a job that begins when the jobs `after` have succeeded."""
    other = dict(config.additional_parameters)
    if after:
        other |= {"dependency": f"afterok:{':'.join(after)}", "kill-on-invalid-dep": "yes"}
    asked = {key: value for key, value in asdict(resources).items() if value is not None and key != "max_num_timeout"}
    asked = {key if key in SHARED else f"slurm_{key}": value for key, value in asked.items()}
    if resources.cpus_per_task:  # since SLURM 22.05 srun no longer asks for what sbatch was given
        asked["slurm_srun_args"] = [f"--cpus-per-task={resources.cpus_per_task}"]
    return asked | {"name": name, "stderr_to_stdout": True, "slurm_additional_parameters": other}
