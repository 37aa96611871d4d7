"""Composing a configuration outside of the command line: in a notebook, a script, or for a preview."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose as compose_with_hydra
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from rwtl.config import CONF, SHARED, flat, overrides_at_home
from rwtl.errors import InputError
from rwtl.keys import as_texts, parsed, require_keys, require_known, require_presets, without_plus
from rwtl.overrides import override
from rwtl.retired import require_current


@contextmanager
def composing(config_dir: str | Path | None = None, conf: Path = CONF) -> Iterator[list[str]]:
    """Let Hydra compose configurations within it, also within a run of Hydra.

    Args:
        config_dir: a folder of further presets.
        conf: where the configurations are.

    Yields:
        The overrides by which the folder is found.
    """
    if config_dir is not None and not Path(config_dir).is_dir():
        raise InputError(f"config_dir is {config_dir}; give a folder of presets, such as one that holds transfer/")
    around = GlobalHydra.instance().hydra  # of a run of Hydra, or of who has called its initialize()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf), version_base="1.3"):
            yield [f"hydra.searchpath=[file://{Path(config_dir).absolute()}]"] if config_dir is not None else []
    finally:
        if around is not None:
            GlobalHydra.instance().initialize(around)


def compose(
    app: str,
    *overrides: str,
    config_dir: str | Path | None = None,
    outputs: str | Path | None = None,
    plugins: str | Path | list[str | Path] | None = None,
    **keys: Any,
) -> DictConfig:
    """Return the configuration of an app, as its command line with the same overrides has it.

    Args:
        app: such as `simulate`, `pretrain`, `train`, `evaluate` or `compare`.
        overrides: as on the command line: `clips.dt=2`, or `transfer=freeze_encoder` for a preset.
        config_dir: a folder of your own presets, by group, as `--config-dir` of the command line.
        outputs: the folder of all artifacts, `paths.outputs`.
        plugins: your Python files and modules, which every process imports before it plans anything.
        keys: further overrides, with values as Python has them: `seed=1`, `clips={"dt": 2}`, `transfer="scratch"`.

    Raises:
        InputError: There is no such app, preset or key, or an override cannot be read.

    >>> cfg = rwtl.compose("train", "transfer=freeze_encoder", "debug=tiny", seed=1, outputs="outputs")
    >>> cfg.seed, cfg.transfer.name, cfg.clips.dt
    (1, 'freeze_encoder', 0.5)
    """
    apps = sorted({file.stem for file in CONF.glob("*.yaml")} - {*SHARED})
    if app not in apps:
        raise InputError(f"there is no app {app}; choose one of {', '.join(apps)}")
    given = flat(keys) + ([("paths.outputs", str(outputs))] if outputs is not None else [])
    words = [as_texts(word) for word in overrides_at_home(overrides)]
    own = [override(key, value) for key, value in given]
    if plugins is not None:
        listed = [plugins] if isinstance(plugins, str | Path) else plugins
        own.append(override("plugins", list(map(str, listed))))
    words = [*words, *own]
    require_current(words)
    require_presets(words)
    base = cache(lambda: base_of(app, words, config_dir))
    folders = [Path(config_dir)] if config_dir else []
    require_keys(words, base, folders)
    with composing(config_dir) as found:
        try:
            cfg = compose_with_hydra(app, [*words, *found])
        except HydraException as error:
            raise InputError(f"{app}: {without_plus(str(error), base) or said(error)}") from error
    require_known(cfg, folders)
    return cfg


def base_of(app: str, words: Iterable[str], config_dir: str | Path | None) -> DictConfig:
    """Return the configuration of an app with the presets that these overrides choose, as far as there are such."""
    chosen = [word for word in words if "." not in word.partition("=")[0] and not parsed(word).is_sweep_override()]
    groups = [word for word in chosen if (CONF / parsed(word).key_or_group).is_dir()]
    with composing(config_dir) as found:
        for tried in ([*groups, *found], found):
            with suppress(HydraException):
                return compose_with_hydra(app, tried)
        return compose_with_hydra(app)


@cache
def presets(group: str) -> dict[str, dict[str, Any]]:
    """Return the choices of a group of the project's own, by name, as Hydra composes them.

    Raises InputError where a file cannot be read.
    """
    found = {}
    with composing(conf=CONF):
        for file in sorted((CONF / group).glob("*.yaml")):
            try:
                cfg = compose_with_hydra(overrides=[f"+{group}={file.stem}"])
                values = OmegaConf.select(cfg, group.replace("/", "."))
                found[file.stem] = OmegaConf.to_container(values) if OmegaConf.is_config(values) else {}
            except (HydraException, OmegaConfBaseException, YAMLError) as error:
                raise InputError(f"{file} cannot be read: {said(error)}") from error
    return found


def said(error: Exception) -> str:
    """Return in one line what Hydra says of bad overrides, without where it has searched and what it links to."""
    text = str(error).partition("\nConfig search path:")[0]
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("See https://")]
    options = ", ".join(line.strip() for line in lines if line.startswith("\t"))
    sentences = "; ".join(line.strip().rstrip(".") for line in lines if not line.startswith("\t"))
    return f"{sentences} {options}".strip()
