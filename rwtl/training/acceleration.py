"""How a model runs on its device, which changes its results by rounding only."""

import torch
from torch import nn

# By their names in Lightning; parameters stay in float32.
PRECISIONS = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def compile_parts(model: nn.Module) -> None:
    """Let `torch.compile` compile each part of a model in place, when it is first called; this needs a C++ compiler.

    Parts compile faster than the unrolled iterations, serve any number of them, and keep the names of the weights.
    Those without weights are left as they are.
    """
    for part in model.children():
        if any(True for _ in part.parameters()):
            part.compile()


def accelerate(model: nn.Module, compile: bool, channels_last: bool) -> None:
    """Prepare a model in place: with its parts compiled, or its convolutions in the channels-last memory format."""
    if channels_last:
        model.to(memory_format=torch.channels_last)
    if compile:
        compile_parts(model)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which a model computes in a precision of PRECISIONS."""
    return torch.autocast(device.type, PRECISIONS[precision], enabled=precision != "32-true")
