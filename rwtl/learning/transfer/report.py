"""What a transfer does to a model, by names and in numbers."""

from dataclasses import asdict, dataclass, field

from torch import nn

from rwtl.models.encoder import batch_norms


@dataclass
class PartReport:
    """One part of the model in numbers: tensors (parameters and buffers), the values of its parameters, BatchNorm."""

    tensors: int
    tensors_loaded: int
    tensors_frozen: int
    parameters: int
    parameters_frozen: int
    batchnorm_layers: int
    batchnorm_in_eval: int


@dataclass
class TransferReport:
    """What a transfer did, by names of the model's tensors.

    Args:
        loaded: tensors taken from the source.
        left_out: tensors of the source that were not taken, with the reason.
        shuffled: loaded tensors whose values were permuted; the other loaded ones hold a single value.
        frozen: parameters and running statistics that must not change, at the start of training.
        batchnorm_in_eval: BatchNorm layers that use and keep their running statistics, at the start of training.
        unfreezing: of the frozen tensors, those that are trained from a step on, by step.
        loaded_learning_rate: by what the learning rate of loaded tensors is multiplied.
        parts: the same in numbers, for each part that a transfer can load and the model has.
    """

    loaded: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    shuffled: list[str] = field(default_factory=list)
    frozen: list[str] = field(default_factory=list)
    batchnorm_in_eval: list[str] = field(default_factory=list)
    unfreezing: dict[int, list[str]] = field(default_factory=dict)
    loaded_learning_rate: float = 1.0
    parts: dict[str, PartReport] = field(default_factory=dict)

    def __str__(self) -> str:
        shuffled = f" ({len(self.shuffled)} shuffled)" if self.shuffled else ""
        text = (
            f"{len(self.loaded)} tensors loaded{shuffled}, {len(self.left_out)} of the source left out, "
            f"{len(self.frozen)} frozen, {len(self.batchnorm_in_eval)} BatchNorm layers in eval"
        )
        if self.unfreezing:
            text += "; " + ", ".join(
                f"{len(names)} trained from step {step}" for step, names in self.unfreezing.items()
            )
        if self.loaded_learning_rate != 1:
            text += f"; learning rate of what was loaded × {self.loaded_learning_rate:g}"
        return text

    def to_dict(self) -> dict:
        return asdict(self)

    def table(self) -> str:
        """Return lines of text, one for each part of the model: how much of it is loaded and frozen, of how much."""
        rows = [("part", "tensors loaded", "tensors frozen", "parameters frozen", "BatchNorm in eval")]
        for name, part in self.parts.items():
            pairs = (
                (part.tensors_loaded, part.tensors),
                (part.tensors_frozen, part.tensors),
                (part.parameters_frozen, part.parameters),
                (part.batchnorm_in_eval, part.batchnorm_layers),
            )
            rows.append((name, *(f"{some:,} of {all_:,}" for some, all_ in pairs)))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)

    def count(self, model: nn.Module, parts: tuple[str, ...]) -> None:
        """Fill in `parts` from the names."""
        loaded, frozen, in_eval = set(self.loaded), set(self.frozen), set(self.batchnorm_in_eval)
        for part, module in model.named_children():
            if part in parts:
                tensors = {f"{part}.{name}" for name in module.state_dict()}
                sizes = {f"{part}.{name}": parameter.numel() for name, parameter in module.named_parameters()}
                norms = {f"{part}.{name}" for name in batch_norms(module)}
                self.parts[part] = PartReport(
                    len(tensors),
                    len(tensors & loaded),
                    len(tensors & frozen),
                    sum(sizes.values()),
                    sum(size for name, size in sizes.items() if name in frozen),
                    len(norms),
                    len(norms & in_eval),
                )
