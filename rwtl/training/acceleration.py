"""How a model runs on its device, which changes its results by rounding only."""

import torch
from torch import nn


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
