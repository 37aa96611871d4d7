"""Engines by name. Each loads Brian2, which takes seconds, so each is imported only when it is asked for."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from rwtl.config import typed
from rwtl.errors import InputError
from rwtl.waves.simulation import Engine

ENGINES = {
    "cpp": ("rwtl.waves.cpp_engine", "CppEngine"),
    "cuda": ("rwtl.waves.cuda_engine", "CudaEngine"),
    "runtime": ("rwtl.waves.runtime_engine", "RuntimeEngine"),
}


def engine_of(values: Mapping[str, Any]) -> Engine:
    """Make the engine that the section `engine` of a configuration describes: `name`, and its constructor's arguments.

    Raises:
        InputError: the name is none of `ENGINES`, or an argument is wrong.
    """
    arguments = dict(values)
    name = arguments.pop("name", None)
    if name not in ENGINES:
        raise InputError(f"engine.name is {name!r}: choose one of {', '.join(ENGINES)}")
    module, cls = ENGINES[name]
    return typed(getattr(import_module(module), cls), arguments, "engine")
