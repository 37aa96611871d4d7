"""One way to read a flow file of any of the formats that optical-flow data sets come in."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from rwtl.data.flow_files import read_flo
from rwtl.data.flow_sample import UNKNOWN
from rwtl.data.kitti_files import read_kitti_flow
from rwtl.data.pfm_files import read_pfm
from rwtl.errors import InputError


def read_flow(path: str | Path) -> tuple[Float32[np.ndarray, "2 h w"], Float32[np.ndarray, "h w"]]:
    """Read a flow file, whose suffix says its format: `.flo`, `.pfm`, or `.png` for KITTI's.

    Args:
        path: The file.

    Returns:
        Displacement in px (`[0]` is x to the right, `[1]` is y down; 0 where it is not known), and 1.0 where it is
        known, elsewhere 0.0. Row 0 is the top of the image. In `.flo` and `.pfm`, absolute values above 1e9 mark what
        is not known.

    Raises:
        InputError: The suffix is another, or the file is missing or damaged.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".png":
        return read_kitti_flow(path)
    readers = {".flo": read_flo, ".pfm": read_pfm}
    if suffix not in readers:
        raise InputError(
            f"{path}: a flow file ends in .flo, .pfm or .png (KITTI's format); convert it to one of these."
        )
    flow = readers[suffix](path)
    known = (np.abs(flow) <= UNKNOWN).all(axis=0)
    return np.where(known, flow, np.float32(0)), known.astype(np.float32)
