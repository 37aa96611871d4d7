"""Keys that a command line names: whether there are such, what they are called here, and texts that YAML would take for
numbers."""

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, QuotedString, Sweep, ValueType
from omegaconf import DictConfig, OmegaConf

from rwtl.config import CONF, flat
from rwtl.errors import InputError

# What other programs call it: Lightning, lightning-hydra-template, RAFT's own code, W&B.
ELSEWHERE = {
    "ckpt_path": "start_from=... (weights that a training begins with), or evaluate's checkpoint=...",
    "restore_ckpt": "start_from=...",
    "data": "flow_data=... (what flow is learnt from), or clips.… (what the source task is)",
    "datamodule": "flow_data=...",
    "seed_everything": "seed=...",
    "epochs": "training.steps=...",
    "max_epochs": "training.steps=...",
    "trainer.max_epochs": "training.steps=...",
    "trainer.max_steps": "training.steps=...",
    "num_steps": "training.steps=...",
    "batch_size": "training.batch_size=...",
    "data.batch_size": "training.batch_size=...",
    "lr": "training.learning_rate=...",
    "model.lr": "training.learning_rate=...",
    "optimizer.lr": "training.learning_rate=...",
    "model.optimizer.lr": "training.learning_rate=...",
    "wdecay": "training.weight_decay=...",
    "iters": "training.iterations=..., or evaluation.iterations=...",
    "num_workers": "trainer.data_workers=...",
    "data.num_workers": "trainer.data_workers=...",
    "trainer.gpus": "trainer=gpu",
    "gpus": "trainer=gpu",
    "mixed_precision": "trainer.precision=bf16-mixed",
    "callbacks": "nothing: checkpoints, progress and pictures are always there",
    "paths.data_dir": "paths.datasets=...",
    "data_dir": "paths.datasets=...",
    "output_dir": "paths.outputs=...",
    "paths.output_dir": "paths.outputs=...",
    "wandb.project": "logger.wandb.project=..., with logger=wandb",
    "tags": "logger.wandb.tags=..., with logger=wandb",
    "task_name": "sweep=... (the name of a sweep)",
}
LOGGERS = ("many_loggers", "aim", "comet", "mlflow", "neptune")  # of lightning-hydra-template
_TEXTS = re.compile(
    r"sweep|runs|checkpoint|start_from|output|images|file|folder|paths\..+|datasets\.\w+\.root|transfer\.source|"
    r"logger\.wandb\.(project|entity|group)"
)


def parsed(word: str) -> Override:
    """Return an override of a command line. Raises InputError where it cannot be read."""
    try:
        (override,) = OverridesParser.create().parse_overrides([word])
    except Exception as error:  # Hydra's parser raises what it likes where a choice is within a list
        lines = [line.strip() for line in str(error).splitlines() if line.strip(" ^")]
        said = [line for line in lines if not line.startswith(("Error parsing override", "See https"))]
        reason = (said or lines or [type(error).__name__])[0]
        remedy = "of several values each is a plain one, and a text with signs in it has quotes: \"key='a,b'\""
        raise InputError(f"{word} cannot be read ({reason}); {remedy}") from error
    value = override.value()
    if isinstance(value, ChoiceSweep) and any(isinstance(each, Sweep) for each in value.list):
        raise InputError(f"{word}: a choice cannot itself be choice(), interval() or range(); list the values")
    return override


def as_texts(word: str) -> str:
    """Return an override, in quotes where its key holds a text and YAML would read something else: `sweep=20261130`."""
    override = parsed(word)
    if override.is_sweep_override() or not _TEXTS.fullmatch(override.key_or_group):
        return word
    if not isinstance(override.value(), int | float):
        return word
    key, _, raw = word.partition("=")
    return f"{key}='{raw}'"


def require_presets(words: Sequence[str]) -> None:
    """Raise InputError where a group is given what is no name, as in `experiment=null`.

    Args:
        words: overrides of a command line.
    """
    for word in words:
        override = parsed(word)
        key = override.key_or_group
        is_glob = override.value_type == ValueType.GLOB_CHOICE_SWEEP  # which matches only what there is
        if override.is_delete() or is_glob or not (CONF / key).is_dir():
            continue
        given = [*override.sweep_iterator()] if override.is_choice_sweep() else override.value()
        names = given if isinstance(given, list) else [given]
        if not all(isinstance(name, str | QuotedString | Sweep | Glob | list) for name in names):
            remedy = f"give the name of a preset, as --help lists them, or leave it out with ~{key}"
            raise InputError(f"{word}: {key} is a group; {remedy}")


def require_keys(words: Sequence[str], base: Callable[[], DictConfig], folders: Sequence[Path] = ()) -> None:
    """Raise InputError where an override adds a key that nothing reads, with the nearest that there is.

    Sections that are checked by their classes say so themselves; see `rwtl.pipeline.known.check_sections`.

    Args:
        words: overrides of a command line.
        base: returns the app's configuration without them.
        folders: of presets, besides the project's own.
    """
    for word in words:
        override = parsed(word)
        key = override.key_or_group
        if not (override.is_add() or override.is_force_add()) or re.match(r"hydra\b", key):
            continue
        if any((folder / key).is_dir() for folder in (CONF, *folders)):
            continue  # a group
        section = key.partition(".")[0]
        checked = "." in key and section in base() and section not in ("paths", "slurm") and key not in ELSEWHERE
        if checked or _exists(base(), key) or _is_referred_to(key, words, base(), folders):
            continue
        raise no_such_key(key, base())


def require_known(cfg: DictConfig, folders: Sequence[Path] = ()) -> None:
    """Raise InputError where a file of presets sets a key that nothing reads: at the top level, in paths or in slurm.

    Keys to which an interpolation refers are the user's own. A configuration that an artifact keeps may be of an
    earlier version, and is not looked at.

    Args:
        cfg: the composed configuration.
        folders: of presets, besides the project's own; a run of Hydra knows them itself.
    """
    words: list[str] = []
    if HydraConfig.initialized():
        words = OmegaConf.to_container(HydraConfig.get().overrides, resolve=False)["hydra"]
        sources = HydraConfig.get().runtime.config_sources
        if not any(each.provider == "main" and Path(each.path).resolve() == CONF.resolve() for each in sources):
            return
        folders = [*folders, *(Path(each.path) for each in sources if each.schema == "file")]
    known = _of_apps()
    keys = [*map(str, cfg), *(f"{name}.{key}" for name in ("paths", "slurm") for key in cfg.get(name) or {})]
    for key in keys:
        if key not in known and not _is_referred_to(key, words, cfg, folders):
            raise no_such_key(key, OmegaConf.masked_copy(cfg, [name for name in cfg if name in known]))


@cache
def _of_apps() -> frozenset[str]:
    """Keys at the top level of the apps' configurations, and those in base.yaml's paths and slurm."""
    known = {"hydra"}
    for file in CONF.glob("*.yaml"):
        written = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
        groups = [next(iter(each)) for each in written.pop("defaults", []) if isinstance(each, dict)]
        known |= {group.split()[-1].rpartition("@")[2].partition("/")[0] for group in groups}
        known |= {*written, *(f"{name}.{key}" for name in ("paths", "slurm") for key in written.get(name) or {})}
    return frozenset(known)


def _exists(cfg: DictConfig, key: str) -> bool:
    node = cfg
    for part in key.split("."):
        if not OmegaConf.is_dict(node) or part not in node.keys():
            return False
        node = node._get_node(part)
    return True


def _is_referred_to(key: str, words: Sequence[str], base: DictConfig, folders: Sequence[Path]) -> bool:
    """Whether an interpolation names a key: a value of the user's own, that others refer to."""
    texts = [*words, OmegaConf.to_yaml(base)]
    texts += [
        file.read_text(encoding="utf-8", errors="replace") for folder in folders for file in folder.rglob("*.yaml")
    ]
    return any(re.search(rf"\$\{{{re.escape(key)}[.}}\[]", text) for text in texts)


def no_such_key(key: str, base: DictConfig) -> InputError:
    """Return the error of a key that there is not."""
    if key in ELSEWHERE:
        return InputError(f"there is no key {key}; what it is elsewhere is here {ELSEWHERE[key]}")
    if (CONF / key).is_dir():
        names = ", ".join(sorted(file.stem for file in (CONF / key).glob("*.yaml")))
        return InputError(f"{key} is a group of presets; write {key}= and one of {names}")
    known = [name for name, _ in flat(OmegaConf.to_container(base, resolve=False)) if name != key]
    known += sorted({".".join(name.split(".")[:depth]) for name in known for depth in range(1, name.count(".") + 1)})
    by_last: dict[str, list[str]] = {}
    for name in known:
        by_last.setdefault(name.rpartition(".")[2], []).append(name)
    alike = get_close_matches(key.rpartition(".")[2], by_last, 1, 0.75)
    near = get_close_matches(key, known, 1, 0.75) or [name for last in alike for name in by_last[last]][:3]
    hint = f"did you mean {' or '.join(near)}?" if near else "--help lists what there is"
    return InputError(f"there is no key {key}; {hint}")


def without_plus(text: str, base: Callable[[], DictConfig]) -> str | None:
    """Return what to say in place of Hydra's advice to add a key that it does not know; None for other messages."""
    found = re.search(r"Could not override '([^']+)'", text)
    if found is not None and "Multiple values" not in text:
        return str(no_such_key(found[1], base()))
    found = re.search(r"Could not find 'logger/(\w+)'", text)
    if found is not None and found[1] in LOGGERS:
        return f"there is no logger {found[1]}; choose csv, wandb, tensorboard or several, 'logger=[wandb,tensorboard]'"
    return None
