"""Hydra's plug-ins for sweeps; what they do is in rwtl/sweeps, which is imported only when there is a sweep."""

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class RecordedSweeper(Sweeper):
    """Makes what the jobs of all combinations ask for, by one executor (rwtl.sweeps.sweep).

    Args:
        max_batch_size: jobs that are handed to the executor at once; None: all.
        params: overrides beside those of the command line, such as {seed: "1,2"}.
    """

    def __init__(self, max_batch_size: int | None, params: DictConfig | None):
        self.params = params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from rwtl.sweeps.sweep import digest_name, name_sweep, readable

        self.config, self.loader, self.program = config, hydra_context.config_loader, task_function
        with readable():
            name_sweep(config, digest_name(config, self.params))

    def sweep(self, arguments: list[str]) -> None:
        from rwtl.sweeps.sweep import readable, run_sweep

        with readable():
            run_sweep(self.config, self.loader, self.program.main, self.program.carry_out, arguments)


_RECORDED = {"_target_": "hydra_plugins.rwtl_sweeper.RecordedSweeper", "max_batch_size": None, "params": None}
ConfigStore.instance().store(group="hydra/sweeper", name="recorded", node=_RECORDED, provider="rwtl")


class SearchSweeper(Sweeper):
    """Searches with Optuna, in the terms of hydra-optuna-sweeper, and goes on with what is stored (rwtl.sweeps.search).

    Args: see conf/hydra/sweeper/search.yaml.
    """

    def __init__(
        self,
        sampler: DictConfig,
        study_name: str,
        storage: str | None,
        direction: str,
        n_trials: int,
        n_jobs: int,
        max_failure_rate: float,
        params: DictConfig,
    ):
        self.sampler = sampler
        self.study_name = study_name
        self.storage = storage
        self.direction = direction
        self.n_trials = n_trials
        self.n_jobs = n_jobs
        self.max_failure_rate = max_failure_rate
        self.params = params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from rwtl.sweeps.sweep import name_sweep, readable

        with readable():
            name_sweep(config, f"{config.hydra.job.name}-{self.study_name}")
        self.config = config
        self.hydra_context = hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(hydra_context, task_function, config)

    def sweep(self, arguments: list[str]) -> None:
        from rwtl.sweeps.search import run_search

        from rwtl.sweeps.sweep import readable

        with readable():
            run_search(self, arguments)
