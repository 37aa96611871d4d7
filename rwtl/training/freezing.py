"""Which of an encoder's tensors are frozen, and when each is unfrozen: names alone, on any device."""

from collections.abc import Iterable

from torch import nn

from rwtl.models.encoder import batch_norms

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
    """
    if at is None:
        return {}
    turns = [[name for name in frozen if name.split(".")[1] in layers] for layers in FROM_THE_OUTPUT]
    schedule: dict[int, list[str]] = {}
    for turn, names in enumerate(filter(None, turns)):
        schedule.setdefault(at + turn * every, []).extend(names)
    return schedule
