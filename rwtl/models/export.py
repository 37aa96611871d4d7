"""RAFT as a file that programs without rwtl run: ONNX, or a program of torch.export."""

import logging
import warnings
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rwtl.errors import InputError
from rwtl.files import replaced
from rwtl.models.correlation import AllPairsCorrelation
from rwtl.models.raft import RAFT

SUFFIXES = (".onnx", ".pt2")


class Estimate(nn.Module):
    """Two images to their flow alone, after a fixed number of iterations: what is exported."""

    def __init__(self, model: RAFT, iterations: int):
        super().__init__()
        self.model, self.iterations = model, iterations

    def forward(self, image1: Float[Tensor, "b 3 h w"], image2: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 2 h w"]:
        return self.model.estimate(image1, image2, self.iterations).flow


def smallest_side(model: RAFT) -> int:
    """Return the least height and width, px, that an exported RAFT takes: its coarsest correlation has two pixels."""
    return 8 * 2**model.correlation.levels


def export_raft(model: RAFT, file: str | Path, iterations: int | None = None) -> None:
    """Write RAFT as ONNX (`.onnx`, opset of PyTorch's exporter) or as a program of torch.export (`.pt2`).

    It takes `image1` and `image2`, (1, 3, height, width), RGB, 0..255, float32, of any height and width that are
    multiples of 8 and at least `smallest_side`, and returns `flow`, (1, 2, height, width), px.

    Args:
        model: on the CPU, with a correlation of all pairs.
        file: its suffix says the format; an earlier one is replaced.
        iterations: recurrent iterations, which are part of the graph; None for those of the model.

    Raises:
        InputError: The suffix is another, the correlation is on demand, or ONNX is not installed.
    """
    file = Path(file)
    if file.suffix not in SUFFIXES:
        raise InputError(f"{file}: a model is exported as {' or '.join(SUFFIXES)}; give it such a name")
    if not isinstance(model.correlation, AllPairsCorrelation):
        raise InputError(
            "correlation is on_demand, whose loop over parts of the frame no format holds; export with "
            "trainer.correlation=all_pairs"
        )
    if file.suffix == ".onnx":
        _require_onnx()
    least = smallest_side(model)
    module = Estimate(model.eval(), model.iterations if iterations is None else iterations)
    rows, columns = (torch.export.Dim(name, min=least // 8, max=2**12) for name in ("rows", "columns"))
    example = [torch.zeros(1, 3, least + 8, least + 72) for _ in range(2)]
    sizes = {2: 8 * rows, 3: 8 * columns}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of PyTorch's exporter about itself
        program = torch.export.export(module, tuple(example), dynamic_shapes=(sizes, sizes), strict=False)
        with replaced(file) as draft:
            if file.suffix == ".pt2":
                with open(draft, "wb") as stream:
                    torch.export.save(program, stream)
            else:
                logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it says that torchvision is not there
                names = {"input_names": ["image1", "image2"], "output_names": ["flow"]}
                torch.onnx.export(program, dynamo=True, verbose=False, external_data=False, **names).save(draft)


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"{error.name} is not installed, with which PyTorch writes ONNX: pip install 'rwtl[onnx]'"
        ) from error
