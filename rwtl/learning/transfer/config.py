"""The section `transfer`: what is loaded, from where, and what is frozen for how long; and what it is loaded from."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

from torch import Tensor

from rwtl.sections import Count, Natural, Positive, Unfit, section

Loadable = Literal["feature_encoder", "context_encoder", "update_block"]
LOADABLE = get_args(Loadable)
PRETRAINING = "pretraining"  # the source that the rest of the configuration describes


@section("transfer")
class TransferConfig:
    """What is loaded, from where, and what is frozen for how long.

    Args:
        name: the condition's name in tables and plots.
        source: `pretraining` for the configured pre-training, or the path of an artifact or a checkpoint; None where
            nothing is loaded.
        load: of `feature_encoder`, `context_encoder`, `update_block`. Encoders are loaded as a whole; of the update
            block, the tensors whose name and shape agree.
        shuffle_weights: whether the values of each loaded tensor, BatchNorm's included, are permuted within it: their
            distribution stays, what was learnt does not.
        freeze_encoder_weights: whether the loaded encoders' weights, those of BatchNorm left aside, are frozen.
        freeze_batchnorm: whether the weights and running statistics of the loaded encoders' BatchNorm are frozen.
        unfreeze_at: the step from which on what is frozen is trained; None: never.
        unfreeze_every: steps from layer to layer, from the output towards the input; 0: all at once.
        loaded_learning_rate: what the learning rate of loaded tensors is multiplied by, above 0.
    """

    name: str
    source: str | None
    load: list[Loadable]
    shuffle_weights: bool
    freeze_encoder_weights: bool
    freeze_batchnorm: bool
    unfreeze_at: Count | None
    unfreeze_every: Natural
    loaded_learning_rate: Positive

    def __post_init__(self):
        fault = next(self._faults(), None)
        if fault:
            raise Unfit(fault)

    @property
    def encoders(self) -> list[str]:
        """The encoders that are loaded, on which freezing acts."""
        return [part for part in self.load if part.endswith("_encoder")]

    @property
    def freezes(self) -> bool:
        return self.freeze_encoder_weights or self.freeze_batchnorm

    def _faults(self) -> Iterator[str]:
        if len(set(self.load)) < len(self.load):
            yield f"load names a part twice ({', '.join(self.load)}); name each once"
        if self.load and self.source is None:
            yield f"load names {', '.join(self.load)}, but source is null; use source=pretraining or a path, or load=[]"
        if self.source is not None and not self.load:
            yield f"source is {self.source}, but load is empty; name {', '.join(LOADABLE)}, or set it to null"
        if self.freezes and not self.encoders:
            yield "load names no encoder, but one is frozen; load feature_encoder or context_encoder, or freeze nothing"
        if not self.load and self.shuffle_weights:
            yield "shuffle_weights permutes what is loaded, and load is empty; set it to false, or load something"
        if not self.load and self.loaded_learning_rate != 1:
            yield f"loaded_learning_rate is {self.loaded_learning_rate}, but load is empty; set it to 1"
        if self.unfreeze_every and self.unfreeze_at is None:
            yield f"unfreeze_every is {self.unfreeze_every}, but unfreeze_at is null; give a step, or set it to 0"
        if self.unfreeze_at is not None and not self.freezes:
            yield f"unfreeze_at is {self.unfreeze_at}, but nothing is frozen; freeze something, or set it to null"


@dataclass(frozen=True)
class Source:
    """A trained model, as a transfer needs it.

    Args:
        name: names it in errors and reports.
        variant: `basic` or `small`.
        feature_norm: normalisation of the feature encoder.
        colour: colours of the frames that it was trained on, as of `rwtl.clips.transforms`; None where nothing says it.
        weights: state dictionary by our names, on the CPU.
    """

    name: str
    variant: str
    feature_norm: str
    colour: str | None
    weights: dict[str, Tensor] = field(repr=False)
