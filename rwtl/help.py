"""What `--help` of an app prints: what it does, examples, the presets that it can use, and its values with units.

What an app does, and its examples, are the docstring of its module; what a value means, and its unit, is the comment
that its file in conf/ has beside it.
"""

import re
import shutil
import sys
import textwrap
from argparse import Namespace
from collections.abc import Collection, Iterator, Mapping
from inspect import cleandoc
from pathlib import Path
from typing import Any

import yaml
from hydra import compose
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.defaults_list import create_defaults_list
from hydra.core.default_element import ConfigDefault, ResultDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf, open_dict

from rwtl.composition import composing
from rwtl.config import flat
from rwtl.program import call_of

COLUMN = 32  # at which comments begin
END = "\n..."  # of a value that is no section or list, as YAML writes it
NARROW = 40  # characters that a comment is given at least
LAST = ("datasets", "executor", "sweep", "plugins", "paths", "slurm")  # sections that a reader looks for last
FOOTER = """\
-m, --multirun runs all combinations of values with commas, as in seed=1,2.
--config-dir DIR finds presets of your own in DIR, by group: DIR/model/mine.yaml.
--cfg job prints the configuration and does nothing else.
Paths, partition and account of yours go into {local}, which every app reads."""


def help_of(app: str, about: str, given: Namespace) -> str:
    """Return the help of an app, as wide as the terminal.

    Args:
        app: its name, which is that of its configuration.
        about: what it does, and in a paragraph below that examples that call it `rwtl app`, each after a comment.
        given: the command line. What it overrides is shown as it would be, but for values of a sweep.

    Raises HydraException where the configuration cannot be composed.
    """
    width = shutil.get_terminal_size().columns
    with composing(given.config_dir) as found:
        loader = GlobalHydra.instance().config_loader()
        parsed = OverridesParser.create(loader).parse_overrides(given.overrides)
        single = [each.input_line for each in parsed if not each.is_sweep_override()] + found
        cfg = compose(app, single, return_hydra_config=True)
        choices = dict(cfg.hydra.runtime.choices)
        overrides = OverridesParser.create(loader).parse_overrides(single)
        files = create_defaults_list(loader.repository, app, overrides, prepend_hydra=True, skip_missing=False).defaults
        comments = _comments(loader, files)
        with open_dict(cfg):
            del cfg["hydra"]
        presets = list(_presets(loader, choices, list(cfg)))
        values = OmegaConf.to_container(cfg, resolve=given.resolve)
    if values.get("executor") is None:  # of an app that makes nothing
        values = {key: value for key, value in values.items() if key not in ("executor", "slurm")}
        presets = [(name, options) for name, options in presets if name != "executor"]
    checkout = Path(__file__).with_name("conf").is_symlink()
    local = "conf/local/default.yaml" if checkout else "local/default.yaml in the folder of --config-dir"
    call = call_of(app)
    first = {key: values[key] for key in values if key not in LAST}
    last = {key: values[key] for key in LAST if key in values}
    listed = [_listed(name, options, width) for name, options in presets]
    parts = [
        *_about(about, app, call, width),
        _filled(f"usage: {call} [GROUP=PRESET ...] [KEY=VALUE ...] [-m]", width),
        *(["presets, of which * holds unless another is chosen:", "\n".join(listed)] if listed else []),
        _filled("values, as KEY=VALUE with dots, such as paths.outputs=/data (???: must be given):", width),
        "\n".join(line.rstrip() for line in _lines(first | last, comments, width)),
        "\n".join(
            textwrap.fill(line, width, subsequent_indent="  ") for line in FOOTER.format(local=local).splitlines()
        ),
    ]
    return "\n\n".join(parts)


def _filled(text: str, width: int) -> str:
    return textwrap.fill(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _about(text: str, app: str, call: str, width: int) -> Iterator[str]:
    """Yield the paragraphs of a docstring, filled, and its examples as this process was called."""
    for part in cleandoc(text).split("\n\n"):
        if part.startswith("#"):
            lines = [re.sub(rf"^rwtl {app}\b", call, line) for line in part.splitlines()]
            filled = {"width": width, "initial_indent": "  ", "subsequent_indent": "  # "}
            yield "\n".join(textwrap.fill(each, **filled) if each[0] == "#" else f"  {each}" for each in lines)
        else:
            yield textwrap.fill(part, width)


def _presets(
    loader: ConfigLoaderImpl, choices: Mapping[str, str | None], sections: Collection[str]
) -> Iterator[tuple[str, list[str]]]:
    """Yield each group of a configuration, with its presets; the one that holds is marked.

    Args:
        choices: all groups of the configuration, with the preset that holds.
        sections: of the configuration.
    """
    for name in sorted(choices):
        group, _, package = name.partition("@")
        if group.split("/")[0] not in ("hydra", "local") and "." not in package:
            options = loader.get_group_options(group, ObjectType.CONFIG)
            fitting = [each for each in options if _fits(loader, group, each, choices, sections)]
            if fitting:
                yield name, [f"{each}*" if each == choices[name] else each for each in fitting]


def _fits(
    loader: ConfigLoaderImpl, group: str, option: str, choices: Collection[str], sections: Collection[str]
) -> bool:
    """Return whether a preset replaces only groups that a configuration has, lays out a comparison only where there is
    one, and searches only what is there."""
    loaded = loader.repository.load_config(f"{group}/{option}")
    for each in loaded.defaults_list:
        if isinstance(each, ConfigDefault) and each.path and each.path != "_self_":
            if not _fits(loader, group, each.path, choices, sections):
                return False
        elif each.is_override() and each.group.removeprefix("/") not in choices:
            return False
    filled = {"comparison"} & set(loaded.config)
    filled |= {key.split(".")[0] for key in OmegaConf.select(loaded.config, "hydra.sweeper.params") or ()}
    return filled <= set(sections)


def _listed(name: str, options: list[str], width: int) -> str:
    return textwrap.fill(", ".join(options), max(40, width), initial_indent=f"  {name:17} ", subsequent_indent=" " * 20)


def _comments(loader: ConfigLoaderImpl, files: list[ResultDefault]) -> dict[str, str]:
    """Return what the files of a configuration say beside their keys, by dotted key; later files win."""
    found: dict[str, str] = {}
    for each in files:
        source = loader.repository.load_config(each.config_path)
        if source is not None and source.path.startswith("file://"):
            file = Path(source.path.removeprefix("file://")) / f"{each.config_path}.yaml"
            found |= comments_of(file.read_text(encoding="utf-8"), each.package or "")
    return found


def comments_of(text: str, package: str) -> dict[str, str]:
    """Return the comments of a YAML file by dotted key: that after a value, and those on the lines above a key.

    The lines at the top are about the whole package. A comment after a section in braces is about its
    value, where it has one alone.
    """
    lines, found = text.splitlines(), {}

    def after(line: int, column: int, closing: str = "") -> str:
        rest = re.match(rf"[\s:,'\"{closing}]*#\s*(.*)", "".join(lines[line : line + 1])[column:])
        return rest[1].strip() if rest else ""

    def above(line: int, column: int) -> str:
        said: list[str] = []
        while line > 0 and lines[line - 1].startswith(" " * column + "#"):
            line -= 1
            said.insert(0, lines[line].strip("# "))
        return " ".join(said) if line > 0 else ""

    def read(node: yaml.MappingNode, prefix: str, closing: str) -> None:
        for key, value in node.value:
            name, begins, end = f"{prefix}{key.value}", key.start_mark, value.end_mark
            said = [] if node.flow_style else [above(begins.line, begins.column)]
            if isinstance(value, yaml.MappingNode) and value.value:
                alone = value.flow_style and len(value.value) == 1  # then its value has the comment
                read(value, f"{name}.", "}" if alone else "")
                if not value.flow_style:
                    end = key.end_mark
                elif alone:
                    continue
            said.append(after(end.line, end.column, closing))
            if any(said):
                found[name] = " ".join(filter(None, said))

    root = yaml.compose(text)
    if package and (header := re.match(r"(#.*\n)+", text.removeprefix("# @package _global_\n"))):
        found[package] = " ".join(line.strip("# ") for line in header[0].splitlines())
    if isinstance(root, yaml.MappingNode):
        listed = [item for key, value in root.value if key.value == "defaults" for item in value.value]
        for item in listed:  # what a group is for
            if isinstance(item, yaml.MappingNode):
                ((key, value),) = item.value
                if said := after(value.end_mark.line, value.end_mark.column):
                    found[key.value.rpartition("@")[2]] = said
        root.value = [(key, value) for key, value in root.value if key.value not in ("defaults", "hydra")]
        read(root, f"{package}." if package else "", "")
    return found


def _lines(values: Mapping[str, Any], comments: Mapping[str, str], width: int, prefix: str = "") -> Iterator[str]:
    """Yield the lines of sections with their comments; a section without comments stands in braces where it fits."""
    indent = "  " * (prefix.count(".") + 1)
    for key in sorted(values, key=lambda key: bool(prefix) and isinstance(values[key], dict)):  # sections below
        name, value = f"{prefix}{key}", values[key]
        written = yaml.safe_dump(value, default_flow_style=True, width=sys.maxsize, sort_keys=False, allow_unicode=True)
        line = f"{indent}{key}: {written.split(END)[0].strip()}"
        inner = isinstance(value, dict) and any(f"{name}.{each}" in comments for each, _ in flat(value))
        if isinstance(value, dict) and value and (inner or len(line) > width):
            yield from _commented(f"{indent}{key}:", comments.get(name, ""), width)
            yield from _lines(value, comments, width, f"{name}.")
        else:
            *before, line = _broken(line, width, indent) if isinstance(value, list) else [line]
            yield from before
            yield from _commented(line, comments.get(name, ""), width)


def _broken(line: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(line, width, subsequent_indent=f"{indent}  ", break_long_words=False, break_on_hyphens=False)


def _commented(line: str, comment: str, width: int) -> Iterator[str]:
    if not comment:
        yield line
        return
    column = max(COLUMN, len(line) + 1)
    if width - column < NARROW:
        yield line
        line, column = "", COLUMN
    for part in textwrap.wrap(comment, max(NARROW, width - column - 2)):
        yield f"{line:{column}}# {part}"
        line = ""
