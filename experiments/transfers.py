"""Print, for every preset of the group `transfer`, what it loads and freezes in every variant of RAFT."""

from rich.table import Table

from rwtl.config import presets
from rwtl.errors import InputError
from rwtl.learning.transfer.callback import touched
from rwtl.learning.transfer.config import TransferConfig
from rwtl.sections import typed
from rwtl.terminal import show

MODELS = {"basic": "instance", "small": "instance", "basic, batch": "batch", "small, batch": "batch"}


def cell(variant: str, norm: str, config: TransferConfig) -> str:
    try:
        report = touched(variant, norm, config)
    except InputError:
        return "refused"
    return f"{len(report.loaded)} / {len(report.frozen)} / {len(report.batchnorm_in_eval)}"


def main() -> None:
    title = (
        "Tensors loaded / frozen at first / BatchNorm layers in eval. instance is stock RAFT's feature_norm. refused: "
    )
    title += "a flag would freeze nothing."
    table = Table("transfer", *(name if "," in name else f"{name}, instance" for name in MODELS), title=title)
    for preset, values in presets("transfer").items():
        config = typed(TransferConfig, values, "transfer")
        table.add_row(preset, *(cell(name.split(",")[0], norm, config) for name, norm in MODELS.items()))
    show(table)


if __name__ == "__main__":
    main()
