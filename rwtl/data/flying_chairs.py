"""FlyingChairs: pairs in one folder, with a file that splits them into training and validation."""

import re
from pathlib import Path

from rwtl.data.flow_pairs import FlowPair, FlowPairs, existing_folder, one_of
from rwtl.errors import InputError

# (first frame, second frame, flow): the released data set, and the naming of ptlflow's and other repackaged samples.
_ENDINGS = (
    ("_img1.ppm", "_img2.ppm", "_flow.flo"),
    ("-img0.ppm", "-img1.ppm", "-gt.flo"),
)
_SPLIT_FILES = ("FlyingChairs_train_val.txt", "chairs_split.txt")
_SPLITS = {"training": "1", "validation": "2"}


class FlyingChairs(FlowPairs):
    """The pairs of FlyingChairs (Dosovitskiy et al., "FlowNet", ICCV 2015).

    Both `00001_img1.ppm, 00001_img2.ppm, 00001_flow.flo` and `0000000-img0.ppm, 0000000-img1.ppm, 0000000-gt.flo` are
    recognised.

    Args:
        root: The folder of the files, or the folder of the release, which holds them in `data`.
        split: `training` or `validation`, as the split file says (22,232 and 640 pairs of the release); None means all.
        split_file: A text file with a line for each pair in the order of their names: 1 is training, 2 validation. None
            means `FlyingChairs_train_val.txt` or `chairs_split.txt` in `root` or in the folder that holds it.

    Raises:
        InputError: The folder is missing, holds no pairs, holds a `.ppm` or `.flo` file of another name, or a pair
            lacks a file; the split file is missing or does not fit the pairs. When a pair is read: a file is damaged,
            or the frames and the flow differ in size.
    """

    layout = "00001_img1.ppm, 00001_img2.ppm and 00001_flow.flo"

    def __init__(self, root: str | Path, split: str | None = None, split_file: str | Path | None = None) -> None:
        root = existing_folder(Path(root), self.layout)
        pairs = _pairs(root)
        if not pairs and (root / "data").is_dir():
            pairs = _pairs(root / "data")
        if split is not None:
            one_of("FlyingChairs' split", split, _SPLITS)
            file = _found_split_file(root) if split_file is None else Path(split_file)
            marks = _read_marks(file, len(pairs))
            pairs = [pair for pair, mark in zip(pairs, marks, strict=True) if mark == _SPLITS[split]]
            if not pairs:
                raise InputError(
                    f"{file}: no line is {_SPLITS[split]}, so there is no pair for {split}; check the file."
                )
        elif split_file is not None:
            raise InputError(f"split_file is {split_file} but split is None; set split to training or validation.")
        super().__init__(root, pairs)


def _pairs(folder: Path) -> list[FlowPair]:
    found = {path.name for path in folder.iterdir() if path.suffix in (".ppm", ".flo")}
    naming: dict[str, tuple[str, str, str]] = {}
    for name in sorted(found):
        stem, endings = _split_name(folder, name)
        if naming.setdefault(stem, endings) != endings:
            raise InputError(f"{folder}: pair {stem} is there in both ways of naming; keep one of the two.")
    for stem, endings in naming.items():
        if missing := [stem + ending for ending in endings if stem + ending not in found]:
            raise InputError(
                f"{folder}: pair {stem} is incomplete, {' and '.join(missing)} missing; "
                "restore the file, or move the rest of the pair away."
            )
    return [FlowPair(stem, *(folder / (stem + ending) for ending in naming[stem])) for stem in sorted(naming)]


def _split_name(folder: Path, name: str) -> tuple[str, tuple[str, str, str]]:
    """Split a file's name into its pair's name and that naming's three endings."""
    for endings in _ENDINGS:
        for ending in endings:
            if re.fullmatch(rf"\d+{re.escape(ending)}", name):
                return name.removesuffix(ending), endings
    raise InputError(
        f"{folder}: {name} is no FlyingChairs file name, expected names such as 00001_img1.ppm or 0000000-img0.ppm; "
        "rename it or move it away."
    )


def _found_split_file(root: Path) -> Path:
    places = [folder / name for folder in (root, root.absolute().parent) for name in _SPLIT_FILES]
    for place in places:
        if place.is_file():
            return place
    raise InputError(
        f"{root}: no file that splits FlyingChairs into training and validation, expected "
        f"{' or '.join(_SPLIT_FILES)} there or in the folder above, with a line for each pair: 1 for training, 2 for "
        "validation. Download FlyingChairs_train_val.txt from the data set's page "
        "(https://lmb.informatik.uni-freiburg.de/resources/datasets/FlyingChairs.en.html), or set split_file."
    )


def _read_marks(file: Path, pairs: int) -> list[str]:
    """Return the `1` or `2` of each pair."""
    try:
        marks = [line.strip() for line in file.read_text().rstrip().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read as a split file ({error}); check split_file.") from error
    if wrong := [(number, mark) for number, mark in enumerate(marks, start=1) if mark not in _SPLITS.values()]:
        number, mark = wrong[0]
        raise InputError(
            f"{file}: line {number} is {mark!r}, expected 1 for training or 2 for validation; check the file."
        )
    if len(marks) != pairs:
        raise InputError(
            f"{file}: {len(marks)} lines for {pairs} pairs; use the split file of just these pairs, "
            "or restore the pairs that are missing."
        )
    return marks
