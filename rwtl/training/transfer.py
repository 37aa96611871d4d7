"""The transfer of a pre-trained feature encoder into RAFT, and what stays frozen."""

from dataclasses import asdict, dataclass, field

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from rwtl.errors import InputError
from rwtl.models.checkpoints import check_tensors
from rwtl.models.encoder import batch_norms

PREFIX = "feature_encoder."


@dataclass
class TransferConfig:
    """What is loaded and what is frozen.

    Args:
        name: the condition's name in tables and plots.
        load_feature_encoder: whether the pre-trained feature encoder is loaded; otherwise training is from scratch.
        freeze_encoder_weights: whether the feature encoder's weights, those of BatchNorm left aside, are frozen.
        freeze_batchnorm: whether the weights and running statistics of the feature encoder's BatchNorm are frozen.
    """

    name: str
    load_feature_encoder: bool
    freeze_encoder_weights: bool
    freeze_batchnorm: bool


@dataclass
class TransferReport:
    """What a transfer did, by names of RAFT's tensors.

    Args:
        loaded: tensors taken from the source.
        left_out: tensors of the source that were not taken, with the reason.
        frozen: parameters and running statistics that must not change.
        batchnorm_in_eval: BatchNorm layers that use and keep their running statistics.
    """

    loaded: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    frozen: list[str] = field(default_factory=list)
    batchnorm_in_eval: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{len(self.loaded)} tensors loaded, {len(self.left_out)} of the source left out, {len(self.frozen)} "
            f"frozen, {len(self.batchnorm_in_eval)} BatchNorm layers in eval"
        )

    def to_dict(self) -> dict:
        return asdict(self)


def require_something_to_freeze(model: nn.Module, config: TransferConfig) -> None:
    """Raise InputError where a strategy freezes BatchNorm and the feature encoder has none."""
    if config.freeze_batchnorm and not batch_norms(model.feature_encoder):
        raise InputError(
            f"transfer {config.name} freezes BatchNorm, but the feature encoder has none: it would freeze nothing; "
            "use model.feature_norm=batch, or another freezing strategy"
        )


def apply_transfer(
    model: nn.Module, config: TransferConfig, source: dict[str, Tensor] | None, source_name: str = "the source"
) -> TransferReport:
    """Load the feature encoder of `source` into `model` and mark what is frozen.

    Args:
        model: RAFT, or any model with a `feature_encoder`; changed in place.
        config: what is loaded and what is frozen.
        source: state dictionary of a model with a `feature_encoder`; None where nothing is loaded.
        source_name: named in errors.

    Raises InputError where the encoders differ (tensor by tensor), where a source is lacking or not asked for, and
    where a freezing strategy would freeze nothing.
    """
    if config.load_feature_encoder != (source is not None):
        raise InputError(
            f"transfer {config.name} has load_feature_encoder {config.load_feature_encoder}, but "
            f"{'no source was given' if source is None else f'{source_name} was given as source'}"
        )
    if source is None and (config.freeze_encoder_weights or config.freeze_batchnorm):
        raise InputError(f"transfer {config.name} freezes an encoder but loads none; load one, or freeze nothing")
    require_something_to_freeze(model, config)
    report = TransferReport()
    encoder = model.feature_encoder
    if source is not None:
        weights = {name.removeprefix(PREFIX): tensor for name, tensor in source.items() if name.startswith(PREFIX)}
        check_tensors(weights, encoder.state_dict(), f"the feature encoder of {source_name}", "the one to be trained")
        encoder.load_state_dict(weights)
        report.loaded = [PREFIX + name for name in weights]
        report.left_out = {name: "not of the feature encoder" for name in source if not name.startswith(PREFIX)}

    norms = batch_norms(encoder)
    of_norms = {f"{layer}.{name}" for layer, norm in norms.items() for name in norm.state_dict()}
    frozen: set[str] = set()
    if config.freeze_encoder_weights:
        frozen |= {name for name, _ in encoder.named_parameters()} - of_norms
    if config.freeze_batchnorm:
        frozen |= of_norms
        report.batchnorm_in_eval = [PREFIX + name for name in norms]
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(name not in frozen)
    report.frozen = [PREFIX + name for name in encoder.state_dict() if name in frozen]
    return report


class KeepFrozen(pl.Callback):
    """Holds frozen BatchNorm in eval while training and asserts at the end that no frozen tensor changed by a bit."""

    def __init__(self, model: nn.Module, report: TransferReport):
        self.model = model
        self.report = report
        self.before = {name: model.state_dict()[name].clone() for name in report.frozen}

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, *_) -> None:
        # Lightning puts all modules in train mode at every epoch and after every validation.
        for name in self.report.batchnorm_in_eval:
            self.model.get_submodule(name).eval()

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        after = self.model.state_dict()
        changed = [name for name, tensor in self.before.items() if not torch.equal(tensor, after[name].cpu())]
        if changed:
            raise RuntimeError(f"{len(changed)} frozen tensors changed while training, among them {changed[0]}")
