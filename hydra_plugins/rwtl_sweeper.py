"""Hydra's plug-ins for sweeps; what they do is in rwtl/study, which is imported only when there is a sweep."""

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class RecordedSweeper(BasicSweeper):
    """Runs all combinations whatever becomes of some, and judges them by what the jobs recorded (rwtl.study.sweep)."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from rwtl.study.sweep import name_sweep, readable

        with readable():
            name_sweep(config, self.params)
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        from rwtl.study.sweep import readable, run_sweep

        with readable():
            return run_sweep(self, arguments)
