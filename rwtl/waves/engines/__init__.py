"""Engines by name. Each loads Brian2, which takes seconds, so each is imported only when it is asked for."""

import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from rwtl.sections import chosen, typed
from rwtl.waves.simulation import Engine

ENGINES = {
    "cpp": ("rwtl.waves.engines.cpp", "CppEngine"),
    "cuda": ("rwtl.waves.engines.cuda", "CudaEngine"),
    "runtime": ("rwtl.waves.engines.runtime", "RuntimeEngine"),
}


def engine_of(values: Mapping[str, Any]) -> Engine:
    """Make the engine that the section `engine` of a configuration describes: `name`, and its constructor's arguments.

    Raises:
        InputError: the name is none of `ENGINES`, or an argument is wrong.
    """
    name, arguments = chosen(ENGINES, values, "engine", "name")
    module, cls = ENGINES[name]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "_get_vc_env is private")  # from setuptools, on some versions of Brian2
        loaded = import_module(module)
    return typed(getattr(loaded, cls), arguments, "engine")
