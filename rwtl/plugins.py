"""Users' plug-ins: Python files and modules that register what is theirs, imported before anything is planned."""

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path

from omegaconf import DictConfig, ListConfig

from rwtl.errors import InputError


def load_plugins(cfg: DictConfig) -> None:
    """Import the files and modules that the key `plugins` of a configuration names, each once in a process.

    Every stage calls this first, so that a plug-in is there wherever something is planned or made. A file is imported
    by its name, from its folder, which is added to Python's search path: so processes that are started later, to
    prepare samples, find its classes too.

    Raises:
        InputError: A plug-in is not there, is hidden by another module of its name, or fails; then with file and line.
    """
    plugins = cfg.get("plugins") or []
    if not isinstance(plugins, ListConfig | list) or not all(isinstance(plugin, str) for plugin in plugins):
        raise InputError(f"plugins is {plugins!r}; give a list of Python files and modules, such as [my_encoder.py]")
    for plugin in plugins:
        _load(plugin)


def _load(plugin: str) -> None:
    file = Path(plugin).expanduser().resolve() if plugin.endswith(".py") else None
    name = plugin if file is None else file.stem
    if file is not None:
        _require_importable(plugin, file)
    try:
        importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and file is None and f"{name}.".startswith(f"{error.name}."):
            raise InputError(
                f"plugins names {plugin}, which Python does not find; give a file that ends in .py, or a module that "
                "is installed or on PYTHONPATH"
            ) from error
        raise InputError(f"plugins: {_place(error, file)}: {_reason(error)}") from error


def _require_importable(plugin: str, file: Path) -> None:
    """Raise InputError where a file is not there, or where Python would import another one by its name."""
    if not file.is_file():
        raise InputError(f"plugins names {plugin}, but there is no such file in {Path.cwd()}")
    if not file.stem.isidentifier():
        raise InputError(f"plugins names {plugin}; name the file as a Python module, of letters, digits and '_'")
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
        importlib.invalidate_caches()
    spec = importlib.util.find_spec(file.stem)
    if spec is None or spec.origin is None or Path(spec.origin).resolve() != file:
        found = "another module" if spec is None else spec.origin
        raise InputError(
            f"plugins names {plugin}, but Python imports {found} as {file.stem}; give the file another name"
        )


def _place(error: Exception, file: Path | None) -> str:
    """Return file and line of an error: the last line of the plug-in, or else of what it calls."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    lines = traceback.extract_tb(error.__traceback__)
    own = [line for line in lines if file is not None and Path(line.filename) == file]
    last = (own or lines)[-1]
    return f"{last.filename}, line {last.lineno}"


def _reason(error: Exception) -> str:
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return said if isinstance(error, InputError) else f"{type(error).__name__}: {said}"
