"""Which choice of a group a section of a configuration is: a configuration that was resolved does not say it."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

CONF = Path(__file__).parents[2] / "conf"


@cache
def presets_of(group: str) -> dict[str, dict[str, Any]]:
    """Return the choices of a group of `conf/`, by name; none where the package was installed without them."""
    return {file.stem: OmegaConf.to_container(_preset(file)) for file in sorted((CONF / group).glob("*.yaml"))}


def _preset(file: Path) -> DictConfig:
    """A choice with those that it begins with: `- rings` is one of its own group, `- cell: g12_v72` a section in it."""
    own = OmegaConf.load(file)
    found = OmegaConf.create()
    for entry in own.pop("defaults", []):
        if OmegaConf.is_dict(entry):
            found.update({key: _preset(file.parent / key / f"{choice}.yaml") for key, choice in entry.items()})
        elif entry != "_self_":
            found = OmegaConf.merge(found, _preset(file.parent / f"{entry}.yaml"))
    return OmegaConf.merge(found, own)


def name_of_transfer(transfer: dict[str, Any]) -> str:
    """Return the name of the freezing strategy: the preset's of the same keys, or else the one it is given.

    A comparison names the transfers of its runs by its rows.
    """
    own = {key: value for key, value in transfer.items() if key != "name"}
    for name, preset in presets_of("transfer").items():
        if own == {key: value for key, value in preset.items() if key != "name"}:
            return name
    return str(transfer["name"])


def composing() -> AbstractContextManager:
    """Within it Hydra composes from `conf/`: an app of Hydra's can do so already."""
    return (
        nullcontext()
        if GlobalHydra.instance().is_initialized()
        else initialize_config_dir(str(CONF), version_base="1.3")
    )
