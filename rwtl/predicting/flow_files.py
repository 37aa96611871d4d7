"""Files of flow, looked at, converted and compared."""

from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Bool, Float32
from rich.table import Column, Table

from rwtl.errors import InputError
from rwtl.files import replaced
from rwtl.flow.files import read_flow, write_flo, write_kitti_flow, write_pfm
from rwtl.learning.evaluation import HEADINGS
from rwtl.learning.metrics import METRICS, FlowMetrics, end_point_error, pixels_of
from rwtl.predicting.drawing import errors_in_colour, in_colour, write_picture
from rwtl.terminal import number, show

_MARK = np.float32(1.666666752e9)  # in .flo and .pfm, of flow that is not known, as Middlebury's files have it
_Flow = tuple[Float32[np.ndarray, "2 h w"], Bool[np.ndarray, "h w"]]


def read(path: Path) -> _Flow:
    """Return the flow of a file, in px, and where it is known.

    Args:
        path: ends in .flo, .pfm, .png (KITTI's) or .npz (`flow`, and perhaps `known`, as `predict` writes it).

    Raises:
        InputError: It is missing, damaged, or of another kind.
    """
    if path.suffix.lower() != ".npz":
        flow, known = read_flow(path)
        return flow, known > 0.5
    try:
        with np.load(path, allow_pickle=False) as content:
            flow = content["flow"].astype(np.float32)
            known = content["known"] if "known" in content else np.isfinite(flow).all(axis=0)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise InputError(
            f"{path} cannot be read ({error}); give a file that holds flow as NumPy's savez does"
        ) from error
    if flow.ndim != 3 or flow.shape[0] != 2 or known.shape != flow.shape[1:]:
        raise InputError(f"{path}: flow is {flow.shape}; it must be (2, height, width), x to the right first")
    return np.where(known, flow, np.float32(0)), known.astype(bool)


def write(path: Path, flow: Float32[np.ndarray, "2 h w"], known: Bool[np.ndarray, "h w"]) -> None:
    """Write a flow as a file of the kind that its name ends in: .flo, .pfm, .png (KITTI's), .npz.

    Raises:
        InputError: It ends in something else, or the format cannot hold the flow.
    """
    marked = np.where(known, flow, _MARK)

    def write_npz(file: Path) -> None:
        with open(file, "wb") as stream:
            np.savez_compressed(stream, flow=flow, known=known)

    writers: dict[str, Callable[[Path], None]] = {
        ".flo": lambda file: write_flo(file, marked),
        ".pfm": lambda file: write_pfm(file, marked),
        ".png": lambda file: write_kitti_flow(file, flow, known.astype(np.float32)),
        ".npz": write_npz,
    }
    if path.suffix.lower() not in writers:
        raise InputError(f"{path}: a flow file ends in {', '.join(writers)}; give it such a name")
    with replaced(path) as draft:
        writers[path.suffix.lower()](draft)


def look_at(path: Path, picture: Path) -> None:
    """Print what a file of flow holds, and write it as a picture in colour, with its legend."""
    flow, known = read(path)
    lengths = np.hypot(*flow)[known]
    height, width = known.shape
    print(f"{path}: {width}×{height} px, flow known at {100 * known.mean():.1f} % of them")
    if len(lengths):
        quantiles = " / ".join(f"{value:.2f}" for value in np.quantile(lengths, (0, 0.5, 0.99, 1)))
        print(f"length, min / median / 99 % / max: {quantiles} px")
        print(f"mean: {flow[0][known].mean():+.2f} px to the right, {flow[1][known].mean():+.2f} px down")
    with replaced(picture) as draft:
        write_picture(draft, in_colour(np.where(known, flow, np.float32(np.inf))))
    print(f"picture: {picture}")


def compare(path: Path, truth: Path, picture: Path) -> None:
    """Print the errors of a flow beside the true one, and write a map of the end-point errors.

    Raises:
        InputError: They differ in size, or no pixel is known in both.
    """
    (flow, known), (true, true_known) = read(path), read(truth)
    if flow.shape != true.shape:
        sizes = [f"{file} is {each.shape[2]}×{each.shape[1]} px" for file, each in ((path, flow), (truth, true))]
        raise InputError(f"{' and '.join(sizes)}; only flow of one size can be compared")
    both = known & true_known
    if not both.any():
        raise InputError(f"no pixel is known in both {path} and {truth}")
    metrics = FlowMetrics()
    batch = [torch.from_numpy(array)[None] for array in (flow, true)]
    metrics.update(*batch, torch.from_numpy(both.astype(np.float32))[None])
    found = metrics.compute()
    table = Table(*(Column(HEADINGS[metric], justify="right") for metric in METRICS))
    table.add_row(*(number(float(found[metric]), ".2f", "-") for metric in METRICS))
    show(table)
    print(f"over {int(found[pixels_of('epe')])} pixels; no motion: {np.hypot(*true)[both].mean():.2f} px")
    error, most = errors_in_colour(end_point_error(*batch)[0].numpy(), both)
    with replaced(picture) as draft:
        write_picture(draft, error)
    print(f"errors: {picture} (black is 0, pale is {most:.3g} px or more)")
