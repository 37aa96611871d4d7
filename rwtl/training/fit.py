"""One training run, for both source and target task."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from rwtl.data.batches import StepBatches
from rwtl.data.stream import BatchesOnDevice, SampleStream
from rwtl.errors import InputError
from rwtl.models.correlation import CorrelationKind
from rwtl.progress import Progress
from rwtl.training.acceleration import PRECISIONS, accelerate
from rwtl.training.interruption import Interruption
from rwtl.training.measurements import Measurements
from rwtl.training.metrics_log import MetricsLog
from rwtl.training.recipe import Recipe
from rwtl.training.resumption import Resumption, load_checkpoint

ACCELERATORS = ("cpu", "gpu", "auto")
CHECKPOINT = "training.ckpt"
METRICS_FILE = "metrics.csv"
LOG_EVERY = 10  # steps, at most


@dataclass
class TrainerConfig:
    """Where and how fast. Of these only the precision is among the values that determine a training.

    Args:
        accelerator: `cpu`, `gpu` or `auto`, as Lightning's.
        precision: `32-true`, `bf16-mixed` or `16-mixed`, as Lightning's; of training and evaluation.
        threads: CPU threads of one run.
        data_workers: processes that prepare samples; 0 prepares them in the training process.
        correlation: `all_pairs` holds the correlation volume; `on_demand` does not: less memory, more time.
        compile: whether torch.compile compiles the model's parts, which takes a minute or more at first.
        channels_last: whether convolutions run in the channels-last memory format: of use in bf16, and on a GPU.
        scenes_on_device: whether procedural scenes are rendered a batch at a time where the model is, in place of one
            by one by the data workers: of use on a GPU.
        checkpoint_minutes: at most about so many minutes of a training are lost when it is killed.
    """

    accelerator: str
    precision: str
    threads: int
    data_workers: int
    correlation: str
    compile: bool
    channels_last: bool
    scenes_on_device: bool
    checkpoint_minutes: float = 5.0

    def __post_init__(self):
        for key, choices in (("accelerator", ACCELERATORS), ("precision", PRECISIONS)):
            if getattr(self, key) not in choices:
                raise InputError(f"trainer.{key} is {getattr(self, key)!r}; choose one of {', '.join(choices)}")
        if self.threads < 1:
            raise InputError(f"trainer.threads is {self.threads}; it must be at least 1")
        if self.data_workers < 0:
            raise InputError(f"trainer.data_workers is {self.data_workers}; it must not be negative")
        if self.checkpoint_minutes < 0:
            raise InputError(f"trainer.checkpoint_minutes is {self.checkpoint_minutes}; it must not be negative")
        if self.correlation not in get_args(CorrelationKind):
            kinds = ", ".join(get_args(CorrelationKind))
            raise InputError(f"trainer.correlation is {self.correlation!r}; choose one of {kinds}")

    def device(self) -> torch.device:
        """Return where a model is evaluated."""
        if self.accelerator == "gpu" and not torch.cuda.is_available():
            raise InputError("trainer.accelerator is 'gpu', but PyTorch finds none; use trainer=cpu")
        return torch.device("cuda" if self.accelerator != "cpu" and torch.cuda.is_available() else "cpu")


CHECK_EVERY = 10  # steps


class ProgressLines(pl.Callback):
    """Prints steps done, time left, the loss and the last validation."""

    def __init__(self, label: str, steps: int, metric: str):
        self.label = label
        self.steps = steps
        self.metric = metric

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.progress = Progress(self.label, self.steps, "steps")

    def on_train_batch_end(self, trainer: pl.Trainer, *_) -> None:
        metrics = trainer.callback_metrics
        # A GPU is asked for its numbers only now and then, for it would have to wait for them.
        if trainer.global_step % CHECK_EVERY == 0 and "loss" in metrics and not torch.isfinite(metrics["loss"]):
            raise InputError(
                f"{self.label}: the loss is {metrics['loss']:g} at step {trainer.global_step}; lower the learning rate"
            )
        known = [name for name in ("loss", self.metric) if name in metrics]
        self.progress(trainer.global_step, lambda: " · ".join(f"{name} {metrics[name]:.4g}" for name in known))


def fit(
    module: pl.LightningModule,
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

    `folder`/training.ckpt is kept up to date meanwhile. Where an earlier job left one, the training goes on from there,
    to the same bits as if it had never stopped; it is for the caller to remove it when the result is kept. Ctrl-C,
    SIGTERM and SLURM's warning take effect after a checkpoint at the end of the step or validation; the same signal
    again takes effect at once.
    """
    _quiet_lightning()
    log = MetricsLog(folder / METRICS_FILE, metrics, every=min(LOG_EVERY, recipe.validate_every))
    checkpoint = load_checkpoint(folder / CHECKPOINT)
    accelerate(module.model, trainer_config.compile, trainer_config.channels_last)
    torch.set_num_threads(trainer_config.threads)
    with Interruption() as interruption:
        minutes = trainer_config.checkpoint_minutes
        resumption = Resumption(folder / CHECKPOINT, minutes, recipe.validate_every, interruption)
        progress = ProgressLines(label, recipe.steps, metrics[0])
        measurements = Measurements(log.every, recipe.batch_size)  # before the log, which reads what it hands over
        callbacks = [*callbacks, measurements, log, progress, resumption]
        trainer = _trainer(recipe, trainer_config, callbacks, loggers)
        step = checkpoint["global_step"] if checkpoint else 0
        loaders = _loaders(recipe, training, validation, trainer_config, trainer.strategy.root_device, step)
        try:
            if checkpoint is None:
                trainer.validate(module, loaders[1], verbose=False)
            else:
                print(
                    f"  {label}: goes on after step {step} of {recipe.steps}, where an earlier job was stopped",
                    flush=True,
                )
            if step < recipe.steps:
                trainer.fit(module, *loaders, ckpt_path=folder / CHECKPOINT if checkpoint else None, weights_only=True)
            elif checkpoint:
                _restore(module, log, checkpoint)
        except SystemExit as error:
            if isinstance(error.__context__, KeyboardInterrupt):  # Lightning's answer to Ctrl-C
                print(f"  {label}: stopped at step {trainer.global_step} of {recipe.steps}", flush=True)
                raise KeyboardInterrupt(*error.__context__.args) from error
            raise
        except InputError as error:  # from a worker process it comes with the worker's traceback before the message
            raise InputError(str(error).rsplit("InputError: ", 1)[-1].strip()) from error
    done = step if step == recipe.steps else trainer.global_step
    if done < recipe.steps:
        raise RuntimeError(f"{label} ended at step {done} of {recipe.steps}")
    log.write()
    return log.curve()


def _restore(module: pl.LightningModule, log: MetricsLog, checkpoint: dict[str, Any]) -> None:
    """Load what a training had come to whose job was stopped after its last step."""
    module.load_state_dict(checkpoint["state_dict"])
    log.load_state_dict(checkpoint["callbacks"][log.state_key])


def _trainer(
    recipe: Recipe, config: TrainerConfig, callbacks: list[pl.Callback], loggers: Sequence[Logger]
) -> pl.Trainer:
    try:
        return pl.Trainer(
            accelerator=config.accelerator,
            devices=1,
            precision=config.precision,
            max_steps=recipe.steps,
            gradient_clip_val=recipe.gradient_clip,
            val_check_interval=recipe.validate_every,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            logger=list(loggers) or False,
            callbacks=callbacks,
            plugins=[LightningEnvironment()],  # on a cluster too: SLURM requeues, or submitit, and nobody else
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


def _loaders(
    recipe: Recipe,
    training: SampleStream,
    validation: Sequence[Dataset],
    config: TrainerConfig,
    device: torch.device,
    first_step: int,
) -> tuple[DataLoader, list[DataLoader]]:
    """Return the loader of the training, which begins at a step, and one for each validation data set."""
    workers = {"num_workers": config.data_workers, "persistent_workers": config.data_workers > 0}
    workers["pin_memory"] = device.type == "cuda"
    if config.scenes_on_device:
        batches = BatchesOnDevice(training, recipe.batch_size, device, first_step)
        training_loader = DataLoader(batches, batch_size=None)
    else:
        batches = StepBatches(recipe.steps, recipe.batch_size, first_step)
        training_loader = DataLoader(training, batch_sampler=batches, collate_fn=_collate, **workers)
    return training_loader, [DataLoader(dataset, 1, **workers) for dataset in validation]  # pairs may differ in size


def _collate(samples: list) -> Any:
    """Stack samples to a batch; samples of different size are an InputError."""
    first = [samples[0]] if isinstance(samples[0], Tensor) else samples[0]
    for sample in samples[1:]:
        other = [sample] if isinstance(sample, Tensor) else sample
        if other[0].shape != first[0].shape:
            sizes = " and ".join("×".join(map(str, one[0].shape[-2:])) for one in (first, other))
            raise InputError(
                f"a batch cannot hold samples of {sizes} px: give flow_data.training.<data set>.augmentation a crop "
                "(height, width), or set training.batch_size=1"
            )
    return default_collate(samples)


def _quiet_lightning() -> None:
    """Our own progress lines say what matters; device banners and advice on worker counts would drown them."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")  # StepBatches is
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*", module="pytorch_lightning.*")
