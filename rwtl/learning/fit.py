"""One training run, for both source and target task."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from pytorch_lightning.utilities.warnings import PossibleUserWarning
from torch.utils.data import DataLoader, Dataset

from rwtl import files
from rwtl.errors import InputError
from rwtl.learning.checks import Checks, require_finite
from rwtl.learning.devices import Rank, share_batchnorm, together
from rwtl.learning.log import Measurements, MetricsLog, ProgressLines
from rwtl.learning.recipe import Recipe, Task, TrainerConfig
from rwtl.learning.resumption import Interruption, Resumption, load_checkpoint
from rwtl.learning.transfer.callback import Transfer
from rwtl.processes import end_when_the_parent_asks, helper_context
from rwtl.progress import say
from rwtl.sampling import BatchesOnDevice, SampleStream, StepBatches, stacked

LOG_EVERY = 10  # steps, at most


def fit(
    module: Task,
    recipe: Recipe,
    training: SampleStream,
    validation: Sequence[Dataset],
    trainer_config: TrainerConfig,
    folder: Path,
    label: str,
    metrics: Sequence[str],
    callbacks: list[pl.Callback],
    loggers: Sequence[Logger] = (),
) -> pd.DataFrame:
    """Train for `recipe.steps` steps, if any, and return the validation curve on all data sets, step 0 included.

    Everything that is logged goes to `folder`/metrics.csv and to the loggers. The returned frame has a column `step`
    and one for each of the validation's `metrics`, the first of which is shown as progress.

    `folder`/training.ckpt is kept up to date meanwhile. Where an earlier job left one, the training resumes from it,
    bit-identically; the caller removes it when the result is kept. Ctrl-C, SIGTERM and SLURM's warning take effect
    after a checkpoint at the end of the step or validation; the same signal again takes effect at once.

    Raises:
        InputError: The devices are not there or cannot share a batch equally, the checkpoint cannot be read, a sample
            is bad, the training diverged (a loss, a metric or in the end a weight is not finite), or nothing counted.
        ProcessFailed: Of several devices' processes, another failed or was killed.
    """
    _quiet_lightning()
    trainer_config.require_devices()
    trainer_config.require_shares(recipe.batch_size, "batch_size")
    task = _Training(module, recipe, training, validation, trainer_config, folder, label)
    log = MetricsLog(folder / files.METRICS, metrics, task.log_every)
    checkpoint = load_checkpoint(folder / files.CHECKPOINT)
    if checkpoint and checkpoint["global_step"] == recipe.steps:
        module.load_state_dict(checkpoint["state_dict"])  # an earlier job was stopped after the last step
        log.load_state_dict(checkpoint["callbacks"][log.state_key])
    else:
        transfers = [callback for callback in callbacks if isinstance(callback, Transfer)]
        with (
            Interruption() as interruption,
            together(trainer_config.devices, _train_beside, task, transfers, list(metrics)) as rank,
        ):
            progress = ProgressLines(label, recipe.steps, metrics[0])
            measurements = Measurements(log.every, recipe.batch_size)  # before the log, which reads what it hands over
            own = [measurements, log, *task.guards(rank, metrics, interruption), progress]
            _train(rank, task, [*callbacks, *own], loggers)
    log.write()
    require_finite(module, f"{label} after {recipe.steps} steps")
    return log.curve()


@dataclass
class _Training:
    """What all processes of a training share."""

    module: Task
    recipe: Recipe
    training: SampleStream
    validation: Sequence[Dataset]
    config: TrainerConfig
    folder: Path
    label: str

    @property
    def log_every(self) -> int:
        return min(LOG_EVERY, self.recipe.validate_every)

    def guards(self, rank: Rank, metrics: Sequence[str], interruption: Interruption) -> tuple[Checks, Resumption]:
        """Return what all processes have: the checks, and the checkpoints that pass them."""
        steps, batch_size = self.recipe.steps, self.recipe.batch_size
        checks = Checks(self.label, steps, batch_size, self.log_every, self.training, metrics, rank)
        minutes, every = self.config.checkpoint_minutes, self.recipe.validate_every
        file = self.folder / files.CHECKPOINT
        return checks, Resumption(file, minutes, every, interruption, checks.before_checkpoint)


def _train_beside(rank: Rank, task: _Training, transfers: list[Transfer], metrics: list[str]) -> None:
    """Train in another process than the first. The first alone prints, logs and heeds signals; all join checkpoints."""
    _quiet_lightning()
    _train(rank, task, [*transfers, *task.guards(rank, metrics, Interruption())], [])


def _train(rank: Rank, task: _Training, callbacks: list[pl.Callback], loggers: Sequence[Logger]) -> None:
    recipe, label = task.recipe, task.label
    task.config.lay_out(task.module.model)
    torch.set_num_threads(task.config.threads)
    trainer = _trainer(recipe, task.config, callbacks, loggers, rank)
    if rank.count > 1:
        share_batchnorm(task.module)
    file = task.folder / files.CHECKPOINT
    checkpoint = load_checkpoint(file)
    step = checkpoint["global_step"] if checkpoint else 0
    loaders = _loaders(task, trainer.strategy.root_device, step, rank)
    try:
        if checkpoint is None:
            trainer.validate(task.module, loaders[1], verbose=False)
        elif rank.number == 0:
            where = f"step {step} of {recipe.steps}, where an earlier job was stopped"
            say(f"  {label}: goes on after {where}")
        if step < recipe.steps:
            trainer.fit(task.module, *loaders, ckpt_path=file if checkpoint else None, weights_only=True)
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # Lightning's answer to Ctrl-C
            say(f"  {label}: stopped at step {trainer.global_step} of {recipe.steps}")
            raise KeyboardInterrupt(*error.__context__.args) from error
        raise
    except InputError as error:  # from a worker process it comes with the worker's traceback before the message
        raise InputError(str(error).rsplit("InputError: ", 1)[-1].strip()) from error
    if trainer.global_step < recipe.steps:
        raise RuntimeError(f"{label} ended at step {trainer.global_step} of {recipe.steps}")


def _trainer(
    recipe: Recipe, config: TrainerConfig, callbacks: list[pl.Callback], loggers: Sequence[Logger], rank: Rank
) -> pl.Trainer:
    unfreezes = any(isinstance(callback, Transfer) and callback.report.unfreezing for callback in callbacks)
    try:
        return pl.Trainer(
            accelerator=config.accelerator,
            devices=config.devices,
            strategy=DDPStrategy(find_unused_parameters=unfreezes) if rank.count > 1 else "auto",
            precision=config.precision,
            max_steps=recipe.steps,
            gradient_clip_val=recipe.gradient_clip,
            val_check_interval=recipe.validate_every,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            logger=list(loggers) or False,
            callbacks=callbacks,
            plugins=[rank.environment()],  # on a cluster too: SLURM requeues, or submitit, and nobody else
            use_distributed_sampler=False,
            inference_mode=False,  # it would mark the metrics' states, which outlive a validation, as unchangeable
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (MisconfigurationException, ValueError) as error:
        raise InputError(
            f"trainer.accelerator is {config.accelerator!r} and trainer.precision {config.precision!r}: "
            f"{str(error).splitlines()[0]}"
        ) from error


def _loaders(task: _Training, device: torch.device, first_step: int, rank: Rank) -> tuple[DataLoader, list[DataLoader]]:
    """Return the training's loader, which begins at `first_step`, and one for each validation data set."""
    recipe, config = task.recipe, task.config
    workers: dict[str, Any] = {"num_workers": config.data_workers, "pin_memory": device.type == "cuda"}
    if config.data_workers:
        workers |= {"multiprocessing_context": helper_context(), "worker_init_fn": end_when_the_parent_asks}
        workers["persistent_workers"] = True
    share = (first_step, rank.number, rank.count)
    if config.scenes_on_device:
        batches = BatchesOnDevice(task.training, recipe.batch_size, device, *share)
        training_loader = DataLoader(batches, batch_size=None)
    else:
        batches = StepBatches(recipe.steps, recipe.batch_size, *share)
        training_loader = DataLoader(task.training, batch_sampler=batches, collate_fn=stacked, **workers)
    # Pairs may differ in size. Every process validates on all of them, for metrics are then the same everywhere.
    return training_loader, [DataLoader(dataset, 1, **workers) for dataset in task.validation]


def _quiet_lightning() -> None:
    """Our own progress lines say what matters; device banners and advice on worker counts would drown them."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=PossibleUserWarning)  # advice on workers, a GPU, how often to log
    warnings.filterwarnings("ignore", message=".*suggested max number of worker.*")  # PyTorch's
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")  # StepBatches is
    warnings.filterwarnings("ignore", message=".*`srun` command is available.*")  # nobody here wants it to start tasks
    warnings.filterwarnings("ignore", message=".*sync_dist=True.* when logging on epoch level.*")  # all have the same
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*", module="pytorch_lightning.*")
