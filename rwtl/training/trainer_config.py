"""Where and how fast a model is trained and evaluated."""

from dataclasses import dataclass
from typing import get_args

import torch

from rwtl.errors import InputError
from rwtl.models.correlation import CorrelationKind
from rwtl.training.acceleration import PRECISIONS

ACCELERATORS = ("cpu", "gpu", "auto")


@dataclass
class TrainerConfig:
    """Where and how fast. Of these only the precision is among the values that determine a training.

    Args:
        accelerator: `cpu`, `gpu` or `auto`, as Lightning's.
        precision: `32-true`, `bf16-mixed` or `16-mixed`, as Lightning's; of training and evaluation.
        threads: CPU threads of one run.
        data_workers: processes that prepare samples of a data set, each with a copy of it (of clips, up to 512 MB);
            0 prepares them in the training process.
        correlation: `all_pairs` holds the correlation volume; `on_demand` does not: less memory, more time.
        compile: whether torch.compile compiles the model's parts, which takes a minute or more at first.
        channels_last: whether convolutions run in the channels-last memory format: of use in bf16, and on a GPU.
        scenes_on_device: whether procedural scenes are rendered a batch at a time where the model is, in place of one
            by one by the data workers: of use on a GPU.
        devices: processes that train together, each with a device of its own (a GPU, or CPU threads) and an equal share
            of every batch: the result is that of one, to rounding.
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
    devices: int = 1

    def __post_init__(self):
        for key, choices in (("accelerator", ACCELERATORS), ("precision", PRECISIONS)):
            if getattr(self, key) not in choices:
                raise InputError(f"trainer.{key} is {getattr(self, key)!r}; choose one of {', '.join(choices)}")
        if self.threads < 1:
            raise InputError(f"trainer.threads is {self.threads}; it must be at least 1")
        if self.devices < 1:
            raise InputError(f"trainer.devices is {self.devices}; it must be at least 1")
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

    def require_devices(self) -> None:
        """Raise InputError where this machine has fewer devices than are to train together."""
        if self.device().type == "cuda" and self.devices > torch.cuda.device_count():
            raise InputError(
                f"trainer.devices is {self.devices}, but PyTorch finds {torch.cuda.device_count()} GPU; set it to that"
            )

    def require_shares(self, batch_size: int, name: str) -> None:
        """Raise InputError where the devices cannot share a batch equally, whose size has this name."""
        if batch_size % self.devices:
            raise InputError(
                f"{name} is {batch_size}, which trainer.devices={self.devices} cannot share equally; change one of them"
            )
