"""What a SLURM cluster is asked for: for each kind of result its own."""

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from rwtl.errors import InputError
from rwtl.pipeline.artifact import FORMAT

SHARED = ("gpus_per_node", "cpus_per_task", "mem_gb", "timeout_min")  # what AutoExecutor asks of any cluster


@dataclass
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
    gpus_per_node: int | None = None
    cpus_per_task: int | None = None
    mem_gb: float | None = None
    timeout_min: int = 240
    signal_delay_s: int = 120
    max_num_timeout: int = 20
    array_parallelism: int = 64
    setup: list[str] = field(default_factory=list)

    def __post_init__(self):
        for key in ("timeout_min", "signal_delay_s", "array_parallelism", "cpus_per_task", "mem_gb"):
            value = getattr(self, key)
            if value is not None and value <= 0:
                raise InputError(f"hydra.launcher.{key} is {value}; it must be positive")
        if self.max_num_timeout < 0:
            raise InputError(f"hydra.launcher.max_num_timeout is {self.max_num_timeout}; it must not be negative")
        if self.signal_delay_s >= 60 * self.timeout_min:
            raise InputError(
                f"hydra.launcher.signal_delay_s is {self.signal_delay_s}, which is no less than timeout_min="
                f"{self.timeout_min}: a job would be queued again as soon as it begins"
            )


@dataclass
class SlurmConfig(SlurmResources):
    """The section `hydra.launcher` of hydra/launcher=slurm.

    Args: those of SlurmResources, and
        submitit_folder: of scripts and logs, with %j for the job; all nodes must see it.
        name: of the jobs.
        additional_parameters: other options of sbatch.
        poll: time between looks at the queue, s.
        stages: by kind of result, the resources that differ.
    """

    submitit_folder: str = "slurm/%j"
    name: str = "rwtl"
    additional_parameters: dict[str, Any] = field(default_factory=dict)
    poll: float = 10.0
    stages: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        super().__post_init__()
        if self.poll <= 0:
            raise InputError(f"hydra.launcher.poll is {self.poll}; it must be positive")
        for kind in self.stages:
            self.resources(kind)

    def resources(self, kind: str | None) -> SlurmResources:
        """Return what a job asks for whose result is of this kind; None for one that makes no artifact."""
        known = [each.name for each in fields(SlurmResources)]
        shared = SlurmResources(**{key: getattr(self, key) for key in known})
        if kind is None or self.stages.get(kind) is None:
            return shared
        if kind not in FORMAT:
            raise InputError(f"hydra.launcher.stages.{kind} is no stage; choose of {', '.join(FORMAT)}")
        unknown = set(self.stages[kind]) - set(known)
        if unknown:
            raise InputError(f"hydra.launcher.stages.{kind}.{min(unknown)} is unknown; choose of {', '.join(known)}")
        return replace(shared, **self.stages[kind])


def parameters(config: SlurmConfig, resources: SlurmResources, name: str, after: list[str]) -> dict[str, Any]:
    """Return the parameters of submitit's AutoExecutor for a job that begins when the jobs `after` have succeeded."""
    other = dict(config.additional_parameters)
    if after:
        other |= {"dependency": f"afterok:{':'.join(after)}", "kill-on-invalid-dep": "yes"}
    asked = {key: value for key, value in asdict(resources).items() if value is not None and key != "max_num_timeout"}
    asked = {key if key in SHARED else f"slurm_{key}": value for key, value in asked.items()}
    if resources.cpus_per_task:  # since SLURM 22.05 srun no longer asks for what sbatch was given
        asked["slurm_srun_args"] = [f"--cpus-per-task={resources.cpus_per_task}"]
    return asked | {"name": name, "stderr_to_stdout": True, "slurm_additional_parameters": other}
