"""Print, for every preset of the group `transfer`, what it loads and freezes in every variant of RAFT."""

import argparse
import sys
from typing import TYPE_CHECKING

from rwtl.composition import presets
from rwtl.errors import InputError

if TYPE_CHECKING:
    from rwtl.learning.transfer.config import TransferConfig

MODELS = {"basic": "instance", "small": "instance", "basic, batch": "batch", "small, batch": "batch"}


def main() -> None:
    """Print the table; there is nothing to choose."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    try:
        _print()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def _print() -> None:
    from rich.table import Table

    from rwtl.learning.transfer.config import TransferConfig
    from rwtl.sections import typed
    from rwtl.terminal import show

    title = (
        "Tensors loaded / frozen at first / BatchNorm layers in eval. instance is stock RAFT's feature_norm. refused: "
    )
    title += "a flag would freeze nothing."
    table = Table("transfer", *(name if "," in name else f"{name}, instance" for name in MODELS), title=title)
    for preset, values in presets("transfer").items():
        config = typed(TransferConfig, values, "transfer")
        table.add_row(preset, *(_cell(name.split(",")[0], norm, config) for name, norm in MODELS.items()))
    show(table)


def _cell(variant: str, norm: str, config: "TransferConfig") -> str:
    from rwtl.learning.transfer.callback import touched

    try:
        report = touched(variant, norm, config)
    except InputError:
        return "refused"
    return f"{len(report.loaded)} / {len(report.frozen)} / {len(report.batchnorm_in_eval)}"
