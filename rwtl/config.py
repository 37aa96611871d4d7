"""Reading a composed configuration: its values, paths and dotted keys, and the whole as YAML."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from rwtl.errors import InputError, NotSet

SHARED = ("base", "pipeline")  # configurations that others are made of
CONF = Path(__file__).with_name("conf")  # in a checkout a link to conf/, in a wheel a folder


def resolved_yaml(cfg: DictConfig) -> str:
    """Return a configuration as YAML with its interpolations resolved, but for those that refer to what is not set."""
    return OmegaConf.to_yaml(OmegaConf.create(_resolved(cfg)))


def _resolved(node: Any) -> Any:
    if isinstance(node, ListConfig):
        return [_value(node, index) for index in range(len(node))]
    if isinstance(node, DictConfig):
        return {key: _value(node, key) for key in node}
    return node


def _value(node: DictConfig | ListConfig, key: Any) -> Any:
    if OmegaConf.is_missing(node, key):
        return "???"
    try:
        return _resolved(node[key])
    except OmegaConfBaseException:
        return OmegaConf.to_container(node, resolve=False)[key]


def setting(cfg: DictConfig, key: str) -> Any:
    """Return a value or a section of the configuration, as plain values; what is not set is named."""
    with _named(key):
        value = OmegaConf.select(cfg, key, throw_on_missing=True)
        if OmegaConf.is_config(value):
            value = OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
        return at_home(value)


def at_home(value: Any) -> Any:
    """Return a value in which a text that begins with `~/`, a path, begins with the home folder: also in lists and
    sections."""
    match value:
        case dict():
            return {key: at_home(part) for key, part in value.items()}
        case list() | tuple():
            return type(value)(map(at_home, value))
        case str() | Path() if str(value).startswith("~/") or str(value) == "~":
            return type(value)(Path(value).expanduser())
    return value


def overrides_at_home(overrides: Iterable[str]) -> list[str]:
    """Return overrides with the home folder in place of `~`, where a path begins with it: shells leave it after a `=`,
    and Hydra cannot read it."""
    return [re.sub(r"(?<=[=,\[:])~(?=[/,\]}]|$)", str(Path.home()), override) for override in overrides]


def entry(cfg: DictConfig, section: str, name: str) -> dict[str, Any]:
    """Return an entry of a section as plain values, laid over the one that it is like: see `expanded`."""
    within = OmegaConf.select(cfg, section)
    laid = _expanded(OmegaConf.to_container(within, resolve=False), section, [name])
    with _named(f"{section}.{name}"):
        values = OmegaConf.to_container(OmegaConf.create(laid, parent=within), resolve=True, throw_on_missing=True)
        return at_home(values)


def references(cfg: DictConfig, section: str, name: str) -> dict[str, str]:
    """Return the keys that values of an entry stand for, such as `{"root": "paths.sintel"}`, by the entry's own."""
    laid = _expanded(OmegaConf.to_container(OmegaConf.select(cfg, section), resolve=False), section, [name])
    found = {key: re.fullmatch(r"\$\{(\w+(?:\.\w+)+)\}", str(value)) for key, value in laid.items()}
    return {key: match[1] for key, match in found.items() if match}


@contextmanager
def _named(key: str) -> Iterator[None]:
    """Raise InputError where a value is not set, with the key of what is not."""
    try:
        yield
    except OmegaConfBaseException as error:
        raise told(error, key) from error


def told(error: OmegaConfBaseException, key: str = "") -> InputError:
    """Return what OmegaConf says of a value that cannot be resolved, in the words of this project.

    Args:
        error: by OmegaConf.
        key: that was asked for, where the error names none.
    """
    text, key = str(error), error.full_key or key
    if unknown := re.search(r"Interpolation key '([^']+)' not found", text):
        return InputError(f"{key} refers to {unknown[1]}, which there is not")
    if variable := re.search(r"Environment variable '([^']+)' not found", text):
        return InputError(f"{key} refers to the environment variable {variable[1]}, which is not set")
    if "Recursive interpolation" in text:
        return InputError(f"{key} refers to itself; give it a value")
    if resolver := re.search(r"Unsupported interpolation type (\w+)", text):
        return InputError(f"{key} refers to a resolver {resolver[1]}, which there is not")
    if referred := re.search(r"Missing mandatory value: ([\w.]+)", text):
        key = referred[1]
    elif not isinstance(error, MissingMandatoryValue):
        return InputError(f"{key} cannot be read: {text.splitlines()[0]}")
    return NotSet(f"{key} is not set; give it on the command line as {key}=...")


def path_of(cfg: DictConfig, key: str) -> Path:
    """Return a path of the configuration; what is not set or no text is named."""
    value = setting(cfg, key)
    if not isinstance(value, str):
        raise InputError(f"{key} is {value!r}; it must be a path")
    return Path(value)


def outputs_folder(cfg: DictConfig) -> Path:
    """Return the folder of all artifacts."""
    return Path(setting(cfg, "paths.outputs"))


def without_like(cfg: DictConfig, section: str) -> DictConfig:
    """Return a copy of a configuration in which no entry of a section says `like`: see `expanded`."""
    entries = OmegaConf.to_container(OmegaConf.select(cfg, section), resolve=False)
    extended = cfg.copy()
    OmegaConf.set_struct(extended, False)
    OmegaConf.update(extended, section, expanded(entries, section), merge=False)
    return extended


def expanded(entries: dict[str, dict[str, Any]], section: str) -> dict[str, dict[str, Any]]:
    """Return the entries of a section, each of which may say `like`: the name of another, over which it is then laid.

    Raises InputError where an entry is like none, or like itself in the end.
    """
    return {name: _expanded(entries, section, [name]) for name in entries}


def _expanded(entries: dict[str, dict[str, Any]], section: str, names: list[str]) -> dict[str, Any]:
    entry = entries[names[-1]]
    if not isinstance(entry, dict) or "like" not in entry:
        return entry
    other = entry["like"]
    if other not in list(entries):
        others = ", ".join(name for name in entries if name != names[-1])
        raise InputError(f"{section}.{names[-1]}.like is {other}; choose one of {others}")
    if other in names:
        raise InputError(f"{section}.{names[-1]}.like is {other}, which is like {names[-1]} itself; name another")
    own = {key: value for key, value in entry.items() if key != "like"}
    return _laid_over(_expanded(entries, section, [*names, other]), own)


def _laid_over(values: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = {key for key in above if isinstance(above[key], dict) and isinstance(values.get(key), dict)}
    return {**values, **above, **{key: _laid_over(values[key], above[key]) for key in both}}


def tables_folder(cfg: DictConfig, name: str) -> Path:
    """Return the folder of that name beside the artifacts, made where missing.

    Raises InputError where it cannot be made.
    """
    folder = outputs_folder(cfg) / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {folder} ({error.strerror}); set paths.outputs to another folder") from error
    return folder


def flat(section: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return the dotted keys of a section of sections, each after the prefix, with their values."""
    parts = []
    for key, value in section.items():
        parts += flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return parts


def short(value: Any) -> str:
    """Return a value as one would write it on the command line; a list of sections is told by its length."""
    if isinstance(value, list):
        sections = any(isinstance(part, dict) for part in value)
        return f"of {len(value)}" if sections else f"[{', '.join(map(short, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
