"""Hydra's plug-ins for sweeps; what they do is in rwtl/sweeps, which is imported only when there is a sweep."""

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class _Sweeper(Sweeper):
    """Keeps what it is to sweep with: the configuration of the multirun, what composes its jobs', and the program."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.given = (config, hydra_context.config_loader, task_function)


class RecordedSweeper(_Sweeper):
    """Makes what the jobs of all combinations ask for, by one executor (rwtl.sweeps.sweep).

    Args:
        max_batch_size: jobs that are handed to the executor at once; None: all.
        params: overrides beside those of the command line, such as {seed: "1,2"}.
    """

    def __init__(self, max_batch_size: int | None, params: DictConfig | None):
        pass

    def sweep(self, arguments: list[str]) -> None:
        from rwtl.sweeps.sweep import run_sweep

        run_sweep(*self.given)


_RECORDED = {"_target_": "hydra_plugins.rwtl_sweeper.RecordedSweeper", "max_batch_size": None, "params": None}
ConfigStore.instance().store(group="hydra/sweeper", name="recorded", node=_RECORDED, provider="rwtl")


class SearchSweeper(_Sweeper):
    """Searches with Optuna, and resumes what is stored (rwtl.sweeps.search).

    Args: those of `rwtl.sweeps.search.SearchConfig`, which reads and checks them.
    """

    def __init__(self, **_: Any):
        pass

    def sweep(self, arguments: list[str]) -> None:
        from rwtl.sweeps.search import run_search

        run_search(*self.given)
