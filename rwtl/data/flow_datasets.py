"""Optical-flow data sets on disk."""

import hashlib
import re
from pathlib import Path

from torch.utils.data import Dataset

from rwtl.data.flow_files import read_flo, read_image
from rwtl.data.flow_sample import FlowSample, dense_sample
from rwtl.errors import InputError

# (first frame, second frame, flow): the released data set, and the naming of ptlflow's and other repackaged samples.
_CHAIRS_ENDINGS = (
    ("_img1.ppm", "_img2.ppm", "_flow.flo"),
    ("-img0.ppm", "-img1.ppm", "-gt.flo"),
)


class FlyingChairs(Dataset[FlowSample]):
    """The pairs of FlyingChairs in one folder (Dosovitskiy et al., "FlowNet", ICCV 2015).

    Both `00001_img1.ppm, 00001_img2.ppm, 00001_flow.flo` and `0000000-img0.ppm, 0000000-img1.ppm, 0000000-gt.flo` are
    recognised. The folder is listed once, when the data set is made; files are read when a pair is asked for.

    Args:
        root: The folder that holds the files themselves (`FlyingChairs_release/data` of the release).

    Attributes:
        names: The name of each pair, such as `00001`, in the order of the indices.

    Raises:
        InputError: The folder is missing, holds no pairs, holds a `.ppm` or `.flo` file of another name, or a pair
            lacks a file. When a pair is read: a file is damaged, or the frames and the flow differ in size.
    """

    def __init__(self, root: str | Path) -> None:
        root = Path(root)
        if not root.is_dir():
            raise InputError(f"{root}: no such folder; set root to the folder of the FlyingChairs .ppm and .flo files.")
        found = {path.name for path in root.iterdir() if path.suffix in (".ppm", ".flo")}
        pairs: dict[str, tuple[Path, Path, Path]] = {}
        for name in sorted(found):
            stem, endings = _split_name(root, name)
            files = tuple(stem + ending for ending in endings)
            if missing := [file for file in files if file not in found]:
                raise InputError(
                    f"{root}: pair {stem} is incomplete, {' and '.join(missing)} missing beside {name}; "
                    "restore the file, or move the rest of the pair away."
                )
            paths = tuple(root / file for file in files)
            if pairs.setdefault(stem, paths) != paths:
                raise InputError(f"{root}: pair {stem} is there in both ways of naming; keep one of the two.")
        if not pairs:
            raise InputError(
                f"{root}: no FlyingChairs pairs, expected files such as 00001_img1.ppm, 00001_img2.ppm and "
                "00001_flow.flo; set root to the folder that holds them."
            )
        self.names = sorted(pairs)
        self._pairs = [pairs[name] for name in self.names]

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> FlowSample:
        first, second, flow_file = self._pairs[index]
        image1, image2, flow = read_image(first), read_image(second), read_flo(flow_file)
        sizes = [array.shape[1:] for array in (image1, image2, flow)]
        if len(set(sizes)) > 1:
            listed = ", ".join(
                f"{path.name} {width}x{height}" for path, (height, width) in zip(self._pairs[index], sizes, strict=True)
            )
            raise InputError(
                f"{first.parent}: pair {self.names[index]} differs in size: {listed} px (width x height); "
                "restore its files from the original data set."
            )
        return dense_sample(image1, image2, flow)


def folder_identity(root: str | Path) -> str:
    """Return a digest of a folder's pairs, wherever it lies: names, sizes and 4 KiB from the middle of every file."""
    digest = hashlib.sha256()
    for file in sorted(path for path in Path(root).iterdir() if path.suffix in (".ppm", ".flo")):
        size = file.stat().st_size
        with file.open("rb") as content:
            content.seek(size // 2)
            digest.update(f"{file.name} {size} ".encode() + content.read(4096))
    return digest.hexdigest()


def _split_name(root: Path, name: str) -> tuple[str, tuple[str, str, str]]:
    """Split a file's name into its pair's name and that naming's three endings."""
    for endings in _CHAIRS_ENDINGS:
        for ending in endings:
            if re.fullmatch(rf"\d+{re.escape(ending)}", name):
                return name.removesuffix(ending), endings
    raise InputError(
        f"{root}: {name} is no FlyingChairs file name, expected names such as 00001_img1.ppm or 0000000-img0.ppm; "
        "rename it or move it away."
    )
