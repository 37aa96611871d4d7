"""Hydra's plug-ins for sweeps; what they do is in rwtl/sweeps, which is imported only when there is a sweep."""

from typing import Any

from hydra.core.config_store import ConfigStore
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
    """Searches with Optuna, and resumes what is stored (rwtl.sweeps.search).

    Args: those of `rwtl.sweeps.search.SearchConfig`, which reads and checks them.
    """

    def __init__(self, **_: Any):
        pass

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from rwtl.sweeps.sweep import name_sweep, readable, require_name

        self.config, self.loader, self.program = config, hydra_context.config_loader, task_function
        with readable():
            require_name(config)
            name_sweep(config, f"{config.hydra.job.name}-{config.hydra.sweeper.study_name}")

    def sweep(self, arguments: list[str]) -> None:
        from rwtl.sweeps.search import run_search
        from rwtl.sweeps.sweep import readable, require_making

        with readable():
            require_making(self.program.carry_out)
            run_search(self.config, self.loader, self.program.main, arguments)
