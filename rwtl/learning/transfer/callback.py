"""A transfer: what a model takes from a source, which of its tensors are frozen, and when each is unfrozen."""

import zlib
from collections.abc import Iterable
from itertools import chain

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from rwtl.errors import InputError
from rwtl.learning.transfer.config import LOADABLE, Source, TransferConfig
from rwtl.learning.transfer.report import TransferReport
from rwtl.models.checkpoints import check_tensors
from rwtl.models.encoder import Encoder, Norm, batch_norms, norm_of
from rwtl.models.raft import build_raft
from rwtl.overrides import pasted
from rwtl.random import counter_rng

FROM_THE_OUTPUT = (("conv2",), ("layer3",), ("layer2",), ("layer1",), ("conv1", "norm1"))  # layers of `Encoder`


def frozen_tensors(encoder: nn.Module, weights: bool, batchnorm: bool) -> list[str]:
    """Return the tensors of an encoder that are frozen, in its order.

    Args:
        encoder: an `Encoder`.
        weights: whether all parameters but BatchNorm's are frozen.
        batchnorm: whether the parameters, running statistics and counters of BatchNorm are frozen.
    """
    of_norms = {f"{layer}.{name}" for layer, norm in batch_norms(encoder).items() for name in norm.state_dict()}
    of_others = {name for name, _ in encoder.named_parameters()} - of_norms
    frozen = (of_others if weights else set()) | (of_norms if batchnorm else set())
    return [name for name in encoder.state_dict() if name in frozen]


def unfreezing_schedule(frozen: Iterable[str], at: int | None, every: int) -> dict[int, list[str]]:
    """Return which frozen tensors are trained from which step on.

    Args:
        frozen: names as `feature_encoder.layer3.0.conv1.weight`.
        at: the first step at which any is trained; None where none ever is.
        every: steps from one layer to the next towards the input, in all encoders alike; 0 unfreezes all at once. A
            layer that holds nothing frozen takes no turn.

    Raises InputError where a frozen tensor is in none of the layers, and so would never be trained.
    """
    if at is None:
        return {}
    frozen = list(frozen)
    turns = [[name for name in frozen if name.split(".")[1] in layers] for layers in FROM_THE_OUTPUT]
    others = sorted(set(frozen).difference(*turns))
    if others:
        raise InputError(
            f"transfer.unfreeze_at is {at}, but {others[0]} is in none of the layers that are unfrozen "
            f"({', '.join(chain(*FROM_THE_OUTPUT))}); set it to null, or name the encoder's layers so"
        )
    schedule: dict[int, list[str]] = {}
    for turn, names in enumerate(filter(None, turns)):
        schedule.setdefault(at + turn * every, []).extend(names)
    return schedule


def require_something_to_freeze(model: nn.Module, config: TransferConfig) -> None:
    """Raise InputError where a part that is to be loaded, or BatchNorm that is to be frozen, is not in the model."""
    parts = dict(model.named_children())
    for part in config.load:
        if part not in parts:
            raise InputError(f"transfer {config.name} loads {part}, but the model has none; {_remedy_of_lack(part)}")
    if config.freeze_batchnorm and not any(batch_norms(parts[part]) for part in config.encoders):
        raise InputError(
            f"transfer {config.name} freezes BatchNorm, but what it loads ({', '.join(config.encoders)}) has none: it "
            "would freeze nothing; use model.feature_norm=batch, or load the context encoder of variant basic too "
            "(transfer.load=[feature_encoder,context_encoder]), or another freezing strategy"
        )


def require_unfreezing_within(transfer: "Transfer", steps: int) -> None:
    """Raise InputError where a training of so many steps ends before all is unfrozen that is to be."""
    last = max(transfer.report.unfreezing, default=None)
    if last is not None and last >= steps:
        raise InputError(
            f"transfer {transfer.config.name} unfreezes until step {last}, but the training has {steps} steps; use an "
            "earlier transfer.unfreeze_at (null for never), or a smaller transfer.unfreeze_every"
        )


def shuffle_within(tensor: Tensor, name: str, seed: int) -> Tensor:
    """Return the tensor with its values permuted; the permutation is a function of seed, name and number of values."""
    order = counter_rng(seed, zlib.crc32(name.encode())).permutation(tensor.numel())
    return tensor.flatten()[torch.from_numpy(order).to(tensor.device)].view(tensor.shape)


def touched(variant: str, feature_norm: Norm, config: TransferConfig) -> TransferReport:
    """Return what a transfer does to RAFT of a variant, from a source of the same kind: without weights or training.

    Raises InputError as `Transfer` does where it would freeze nothing.
    """
    with torch.device("meta"):
        model = build_raft(variant, feature_norm)
    weights = model.state_dict() if config.load else None
    return _report(model, config, weights and Source("itself", variant, feature_norm, None, weights))


class Transfer(pl.Callback):
    """Loads parts of a source into a model; holds what is frozen while training, and asserts that not a bit changed.

    Both LightningModules take it for the learning rate of what was loaded, and attach it to the trainer.

    Args:
        model: RAFT, a next-frame model, or any with the parts that are loaded; changed in place.
        config: what is loaded and what is frozen.
        source: what is loaded from; None where nothing is.
        expected_colour: of the frames that the source should have been trained on; None where any will do.
        seed: of `shuffle_weights`.

    Attributes:
        report: what was loaded, left out, shuffled and frozen.

    Raises:
        InputError: The encoders differ (tensor by tensor), nothing of the update block agrees, a part is lacking in
            source or model, a source is lacking or not asked for or of another colour, a flag would freeze nothing, or
            a learning rate would act on nothing.
    """

    def __init__(
        self,
        model: nn.Module,
        config: TransferConfig,
        source: Source | None,
        expected_colour: str | None = None,
        seed: int = 0,
    ):
        if source and None not in (source.colour, expected_colour) and source.colour != expected_colour:
            of_waves = f"clips=triplets {pasted({'clips.colour': source.colour})}"
            clips = "clips=scenes" if source.colour == "rgb" else of_waves
            raise InputError(
                f"{source.name} was trained on frames of colour {source.colour}, but {expected_colour} is configured; "
                f"use {clips}, or another source"
            )
        self.config = config
        self.report = _report(model, config, source)
        self._model = model
        state = model.state_dict()
        shuffled = set(self.report.shuffled)
        with torch.no_grad():
            for name in self.report.loaded:
                tensor = source.weights[name]
                state[name].copy_(shuffle_within(tensor, name, seed) if name in shuffled else tensor)
        self._before = {name: state[name].clone() for name in self.report.frozen}
        self._hold(0)

    def setup(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        # Processes exchange the gradients of what is trained when they begin: what is unfrozen later must be among it.
        parameters = dict(self._model.named_parameters())
        for names in self.report.unfreezing.values() if trainer.world_size > 1 else ():
            for name in parameters.keys() & names:
                parameters[name].requires_grad_(True)

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        released = set(self.report.frozen) - self._held  # by an earlier fit, and trained since
        state = self._model.state_dict()
        self._before |= {name: state[name].detach().cpu().clone() for name in released}
        self._hold(trainer.global_step)  # which is not 0 where a checkpoint is gone on with
        self._assert_unchanged(trainer.global_step)

    def on_train_batch_start(self, trainer: pl.Trainer, *_) -> None:
        if self._frozen_at(trainer.global_step) != self._held:
            self._assert_unchanged(trainer.global_step)
            self._hold(trainer.global_step)
        self._set_batchnorm()

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._assert_unchanged(trainer.global_step)

    def _frozen_at(self, step: int) -> set[str]:
        freed = (names for since, names in self.report.unfreezing.items() if since <= step)
        return set(self.report.frozen).difference(*freed)

    def _hold(self, step: int) -> None:
        self._held = self._frozen_at(step)
        parameters = dict(self._model.named_parameters())
        for name in self._before.keys() & parameters.keys():
            parameters[name].requires_grad_(name not in self._held)

    def _set_batchnorm(self) -> None:
        # At every batch, since Lightning puts all modules in train mode at every epoch and after every validation.
        for layer in self.report.batchnorm_in_eval:
            self._model.get_submodule(layer).train(f"{layer}.running_mean" not in self._held)

    def _assert_unchanged(self, step: int) -> None:
        after = self._model.state_dict()
        held = {name: self._before[name] for name in self._held}
        changed = [name for name, before in held.items() if not torch.equal(before, after[name].to(before.device))]
        if changed:
            raise RuntimeError(
                f"{len(changed)} frozen tensors changed before step {step}, among them {min(changed)}: they are not "
                f"what transfer {self.config.name} loaded"
            )


def _report(model: nn.Module, config: TransferConfig, source: Source | None) -> TransferReport:
    """Return what a transfer will do, having checked that it can."""
    if (config.source is None) != (source is None):
        given = "no source was given" if source is None else f"{source.name} was given"
        raise InputError(f"transfer {config.name} has source {config.source}, but {given}")
    require_something_to_freeze(model, config)
    report = TransferReport(loaded_learning_rate=config.loaded_learning_rate)
    weights = source.weights if source else {}
    for part in config.load:
        report.loaded += _loadable(part, model, source, report.left_out)
    report.left_out |= {
        name: f"not of {', '.join(config.load)}" for name in weights if name.split(".")[0] not in config.load
    }
    if config.shuffle_weights:
        report.shuffled = [
            name for name in report.loaded if weights[name].is_floating_point() and weights[name].numel() > 1
        ]
    for part in config.encoders:
        encoder = model.get_submodule(part)
        frozen = frozen_tensors(encoder, config.freeze_encoder_weights, config.freeze_batchnorm)
        report.frozen += [f"{part}.{name}" for name in frozen]
        if config.freeze_batchnorm:
            report.batchnorm_in_eval += [f"{part}.{name}" for name in batch_norms(encoder)]
    report.unfreezing = unfreezing_schedule(report.frozen, config.unfreeze_at, config.unfreeze_every)
    trained = {name for name, _ in model.named_parameters()}.intersection(report.loaded).difference(report.frozen)
    if config.loaded_learning_rate != 1 and not trained and not report.unfreezing:
        raise InputError(
            f"transfer {config.name} has loaded_learning_rate {config.loaded_learning_rate:g}, but all that it loads "
            "is frozen for good; set it to 1, or unfreeze"
        )
    report.count(model, LOADABLE)
    return report


def _loadable(part: str, model: nn.Module, source: Source, left_out: dict[str, str]) -> list[str]:
    """Return the names of a part's tensors that can be taken; what cannot is an error, or left out with the reason."""
    found = {name: tensor for name, tensor in source.weights.items() if name.startswith(f"{part}.")}
    expected = {name: tensor for name, tensor in model.state_dict().items() if name.startswith(f"{part}.")}
    if not found:
        raise InputError(f"{source.name} holds no {part}; {_remedy_of_lack(part)}")
    if part != "update_block":
        use = pasted({"model.variant": source.variant, "model.feature_norm": source.feature_norm})
        remedy = f"Use {use}, which the source has, or another source"
        check_tensors(found, expected, f"the {part} of {source.name}", "the model's", remedy, most=None)
        encoder = model.get_submodule(part)
        if part == "feature_encoder" and isinstance(encoder, Encoder) and norm_of(encoder) != source.feature_norm:
            raise InputError(  # instance and none hold no tensor that could tell
                f"the feature encoder of {source.name} has feature_norm {source.feature_norm}, the model's "
                f"{norm_of(encoder)}; {remedy}"
            )
        return list(found)
    agreeing = [name for name in found if name in expected and found[name].shape == expected[name].shape]
    for name in found.keys() - set(agreeing):
        here = f"{tuple(expected[name].shape)} in the model" if name in expected else "not in the model"
        left_out[name] = f"{tuple(found[name].shape)} in the source, {here}"
    if not any(found[name].ndim > 1 for name in agreeing):  # a bias without its weight means nothing
        raise InputError(
            f"no weight of the update_block of {source.name} agrees with the model's in name and shape; use "
            f"{pasted({'model.variant': source.variant})}, or leave it out of transfer.load"
        )
    return agreeing


def _remedy_of_lack(part: str) -> str:
    if part == "context_encoder":
        return "a next-frame model has one with pretraining.context=context_encoder; or leave it out of transfer.load"
    return "leave it out of transfer.load"
