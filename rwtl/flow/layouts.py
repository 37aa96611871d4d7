"""The layouts of public data sets: FlyingChairs, FlyingThings3D, MPI-Sintel, HD1K, KITTI 2015 and Middlebury."""

import re
from collections.abc import Iterator
from dataclasses import field
from itertools import chain, groupby, pairwise
from pathlib import Path
from typing import Annotated, Literal

from rwtl.errors import InputError
from rwtl.flow.files import read_bytes
from rwtl.flow.pairs import FlowPair, FlowPairs, existing_folder, matched_files, require_same, subfolders
from rwtl.progress import say
from rwtl.sections import EachOnce, Listed, OneOf, Unfit, section

# FlyingChairs: first frame, second frame and flow of the released data set, and of ptlflow's and other samples.
_NAMINGS = (("_img1.ppm", "_img2.ppm", "_flow.flo"), ("-img0.ppm", "-img1.ppm", "-gt.flo"))
_SPLIT_FILES = ("FlyingChairs_train_val.txt", "chairs_split.txt")
_SPLITS = {"training": "1", "validation": "2"}
# FlyingThings3D: directions, as the names of the files say them.
_FLOW_NAMES = {"into_future": "IntoFuture", "into_past": "IntoPast"}
# Middlebury: the scenes of `other-data` whose flow is not published.
_WITHOUT_FLOW = {"Beanbags", "DogDance", "MiniCooper", "Walking"}


@section("flying_chairs", eq=False)
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

    root: Path
    split: Annotated[str, OneOf(_SPLITS)] | None = None
    split_file: Path | None = None

    def __post_init__(self) -> None:
        root = existing_folder(self.root, self.layout)
        pairs = _pairs(root) or (_pairs(root / "data") if (root / "data").is_dir() else [])
        if self.split is not None:
            file = self.split_file or _found_split_file(root)
            marks = _read_marks(file, len(pairs))
            pairs = [pair for pair, mark in zip(pairs, marks, strict=True) if mark == _SPLITS[self.split]]
            if not pairs:
                raise InputError(
                    f"{file}: no line is {_SPLITS[self.split]}, so there is no pair for {self.split}; check the file."
                )
        elif self.split_file is not None:
            raise Unfit(f"split_file is {self.split_file} but split is null; set split to training or validation")
        super().__init__(root, pairs)


def _pairs(folder: Path) -> list[FlowPair]:
    listed = (path.name for path in folder.iterdir() if path.suffix.lower() in (".ppm", ".flo"))
    found = {name.lower(): name for name in listed if not name.startswith(".")}
    naming: dict[str, tuple[str, str, str]] = {}
    for name in sorted(found):
        number = re.match(r"\d*", name)[0]
        endings = next((each for each in _NAMINGS if name.removeprefix(number) in each), None)
        if not number or endings is None:
            raise InputError(
                f"{folder}: {name} is no FlyingChairs file name, expected names such as 00001_img1.ppm or "
                "0000000-img0.ppm; rename it or move it away."
            )
        if naming.setdefault(number, endings) != endings:
            raise InputError(f"{folder}: pair {number} is there in both ways of naming; keep one of the two.")
    for stem, endings in naming.items():
        if missing := [stem + ending for ending in endings if stem + ending not in found]:
            raise InputError(
                f"{folder}: pair {stem} is incomplete, {' and '.join(missing)} missing; "
                "restore the file, or move the rest of the pair away."
            )
    return [FlowPair(stem, *(folder / found[stem + ending] for ending in naming[stem])) for stem in sorted(naming)]


def _found_split_file(root: Path) -> Path:
    places = [folder / name for folder in (root, root.absolute().parent) for name in _SPLIT_FILES]
    for place in places:
        if place.is_file():
            return place
    raise Unfit(
        f"split_file is null and {root} holds no file that splits FlyingChairs into training and validation, expected "
        f"{' or '.join(_SPLIT_FILES)} there or in the folder above, with a line for each pair: 1 for training, 2 for "
        "validation. Download FlyingChairs_train_val.txt from the data set's page "
        "(https://lmb.informatik.uni-freiburg.de/resources/datasets/FlyingChairs.en.html), or set it to where that is."
    )


def _read_marks(file: Path, pairs: int) -> list[str]:
    """Return the `1` or `2` of each pair."""
    try:
        marks = [line.strip() for line in read_bytes(file).decode().rstrip().splitlines()]
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: cannot be read as a split file ({error}); check the file.") from error
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


@section("flying_things", eq=False)
class FlyingThings3D(FlowPairs):
    """FlyingThings3D (Mayer et al., "A Large Dataset to Train Convolutional Networks …", CVPR 2016).

    The last frame of a sequence has no next one, and the first none before it: their flow is left out.

    Args:
        root: The folder that holds `frames_cleanpass` or `frames_finalpass`, and `optical_flow`.
        render: `clean` or `final`.
        directions: `into_future`, `into_past` or both: to the next frame, or to the one before.
        camera: `left` or `right`.
        split: `TRAIN` or `TEST`.

    Attributes:
        names: Such as `A/0000/into_future/0006`, after the first frame.

    Raises:
        InputError: A folder or file is missing, a sequence has a gap, or an argument is none of those above.
    """

    layout = (
        "frames_cleanpass/TRAIN/A/0000/left/0006.png and "
        "optical_flow/TRAIN/A/0000/into_future/left/OpticalFlowIntoFuture_0006_L.pfm"
    )

    root: Path
    render: Literal["clean", "final"] = "clean"
    directions: Annotated[list[Annotated[str, OneOf(_FLOW_NAMES)]], Listed, EachOnce()] = field(
        default_factory=lambda: list(_FLOW_NAMES)
    )
    camera: Literal["left", "right"] = "left"
    split: Literal["TRAIN", "TEST"] = "TRAIN"

    def __post_init__(self) -> None:
        root, camera = self.root, self.camera
        frames_root, flow_root = root / f"frames_{self.render}pass" / self.split, root / "optical_flow" / self.split
        sequences = _two_levels(frames_root, self.layout)
        require_same(flow_root, _two_levels(flow_root, self.layout), sequences, "flow", "frames")
        frames = {name: _frames(frames_root / name / camera, r"(\d{4})", self.layout) for name in sequences}
        pairs = []
        for direction in self.directions:
            pattern = rf"OpticalFlow{_FLOW_NAMES[direction]}_(\d{{4}})_{camera[0].upper()}"
            for sequence in sequences:
                folder = flow_root / sequence / direction / camera
                flow = matched_files(folder, pattern, ".pfm", self.layout)
                prefix, backwards = f"{sequence}/{direction}/", direction == "into_past"
                pairs += _neighbours(prefix, frames[sequence], flow, folder, spare_flow=True, backwards=backwards)
        super().__init__(root, pairs)


@section("sintel", eq=False)
class Sintel(FlowPairs):
    """MPI-Sintel (Butler et al., "A Naturalistic Open Source Movie for Optical Flow Evaluation", ECCV 2012).

    Args:
        root: The folder that holds `training` or `test`.
        render: `clean` or `final`.
        split: `training`, or `test`, whose flow is not public: it is 0 and nowhere valid.

    Attributes:
        names: Such as `alley_1/frame_0001`, after the first frame.
        sequences: The sequence of each pair, such as `alley_1`; the pairs of one follow each other in time.

    Raises:
        InputError: A folder or file is missing, a sequence has a gap, or an argument is none of those above.
    """

    layout = "training/clean/alley_1/frame_0001.png and training/flow/alley_1/frame_0001.flo"

    root: Path
    render: Literal["clean", "final"] = "clean"
    split: Literal["training", "test"] = "training"

    def __post_init__(self) -> None:
        split = self.split
        frames_root, flow_root = self.root / split / self.render, self.root / split / "flow"
        sequences = subfolders(frames_root, self.layout)
        if split == "training":
            require_same(flow_root, subfolders(flow_root, self.layout), sequences, "flow", "frames")
        pairs = []
        for sequence in sequences:
            frames, flow = _frames(frames_root / sequence, r"(frame_\d{4})", self.layout), None
            if split == "training":
                flow = matched_files(flow_root / sequence, r"(frame_\d{4})", ".flo", self.layout)
            pairs += _neighbours(f"{sequence}/", frames, flow, flow_root / sequence, spare_flow=False)
        super().__init__(self.root, pairs)
        self.sequences = [name.rpartition("/")[0] for name in self.names]


@section("hd1k", eq=False)
class HD1K(FlowPairs):
    """HD1K (Kondermann et al., "The HCI Benchmark Suite", CVPR Workshops 2016); its flow is sparse.

    As in RAFT's training, the flow of a sequence's last frame is left out. So is that of a frame whose next one is not
    there, as a printed note says: with the one after it the frame makes no pair of that flow.

    Args:
        root: The folder that holds `hd1k_input` and `hd1k_flow_gt`.

    Attributes:
        names: Such as `000000_0000`, after the first frame.
        sequences: The name of the first of the frames without a gap that a pair is of.

    Raises:
        InputError: A folder or file is missing.
    """

    sparse = True
    layout = "hd1k_input/image_2/000000_0000.png and hd1k_flow_gt/flow_occ/000000_0000.png"

    root: Path

    def __post_init__(self) -> None:
        root = self.root
        frames_folder, flow_folder = root / "hd1k_input" / "image_2", root / "hd1k_flow_gt" / "flow_occ"
        frames, flow = _by_sequence(frames_folder, self.layout), _by_sequence(flow_folder, self.layout)
        require_same(flow_folder, flow, frames, "flow", "frames")
        pairs, sequences = [], []
        for name in frames:
            require_same(flow_folder, flow[name].keys() - frames[name].keys(), (), "flow", "pair of frames")
            for run in _without_gaps(frames[name], frames_folder):
                of_run = {frame: path for frame, path in flow[name].items() if frame in run}
                pairs += _neighbours("", run, of_run, flow_folder, spare_flow=True)
                sequences += [next(iter(run))] * (len(run) - 1)
        super().__init__(root, pairs)
        self.sequences = sequences


def _neighbours(
    prefix: str,
    frames: dict[str, Path],
    flow: dict[str, Path] | None,
    flow_folder: Path,
    *,
    spare_flow: bool,
    backwards: bool = False,
) -> list[FlowPair]:
    """Pair each frame of a sequence with the next one, or the one before, and with its flow.

    Args:
        prefix: What comes before a frame's name in its pair's.
        frames: The frames of the sequence, by the name that flow files share.
        flow: The files of flow by name, or None where there is none.
        flow_folder: Where the flow lies, for messages.
        spare_flow: Whether the layout has flow for the frame without a neighbour too; it is left out.
        backwards: Whether the flow is that to the frame before.
    """
    order = sorted(frames, reverse=backwards)
    if flow is not None:
        spare = order[-1:] if spare_flow else []
        require_same(flow_folder, set(flow) - set(spare), order[:-1], "flow", "pair of frames")
    pairs = [FlowPair(prefix + a, frames[a], frames[b], None if flow is None else flow[a]) for a, b in pairwise(order)]
    return pairs[::-1] if backwards else pairs


def _frames(folder: Path, pattern: str, layout: str) -> dict[str, Path]:
    """Return the frames of a sequence as `matched_files` does; a gap in their numbers is an InputError."""
    frames = matched_files(folder, pattern, ".png", layout)
    for before, after in pairwise(int(name.removeprefix("frame_")) for name in frames):
        if after != before + 1:
            raise InputError(f"{folder}: frame {before} is followed by frame {after}; restore the frames between them.")
    return frames


def _without_gaps(frames: dict[str, Path], folder: Path) -> Iterator[dict[str, Path]]:
    """Yield the frames of a sequence of HD1K up to each gap in their numbers; a note says where one is."""
    run: dict[str, Path] = {}
    for name, path in frames.items():
        last = next(reversed(run), name)
        if int(name[-4:]) > int(last[-4:]) + 1:
            say(f"note: {folder}: no frames between {last} and {name}, which are therefore no pair")
            yield run
            run = {}
        run[name] = path
    yield run


def _two_levels(folder: Path, layout: str) -> list[str]:
    """Return the sequences of FlyingThings3D in a folder, such as `A/0000`."""
    letters = subfolders(folder, layout)
    return [f"{letter}/{number}" for letter in letters for number in subfolders(folder / letter, layout)]


def _by_sequence(folder: Path, layout: str) -> dict[str, dict[str, Path]]:
    """Return the files of a folder of HD1K by sequence, those of each by the name of the frame."""
    files = matched_files(folder, r"(\d{6}_\d{4})", ".png", layout)
    return {sequence: dict(group) for sequence, group in groupby(files.items(), lambda file: file[0][:6])}


@section("kitti", eq=False)
class KITTI(FlowPairs):
    """KITTI 2015 (Menze and Geiger, "Object Scene Flow for Autonomous Vehicles", CVPR 2015); its flow is sparse.

    The pair of a scene is its frames 10 and 11. Other frames, which the multi-view extension adds, are not used.

    Args:
        root: The folder that holds `training` or `testing`.
        split: `training`, with the flow of all pixels (`flow_occ`), or `testing`, whose flow is not public: it is 0 and
            nowhere valid.

    Attributes:
        names: Such as `000000_10`.

    Raises:
        InputError: A folder or file is missing, or the split is none of those above.
    """

    sparse = True
    padding = "kitti"
    layout = "training/image_2/000000_10.png, training/image_2/000000_11.png and training/flow_occ/000000_10.png"

    root: Path
    split: Literal["training", "testing"] = "training"

    def __post_init__(self) -> None:
        root, split = self.root, self.split
        frames_folder, flow_folder = root / split / "image_2", root / split / "flow_occ"
        frames = matched_files(frames_folder, r"(\d{6}_\d{2})", ".png", self.layout)
        first, second = ([name[:-3] for name in frames if name.endswith(end)] for end in ("_10", "_11"))
        require_same(frames_folder, second, first, "frame 11", "frame 10")
        flow: dict[str, Path] = {}
        if split == "training":
            flow = matched_files(flow_folder, r"(\d{6}_10)", ".png", self.layout)
            require_same(flow_folder, (name[:-3] for name in flow), first, "flow", "frames")
        pairs = [FlowPair(f"{n}_10", frames[f"{n}_10"], frames[f"{n}_11"], flow.get(f"{n}_10")) for n in first]
        super().__init__(root, pairs)


@section("middlebury", eq=False)
class Middlebury(FlowPairs):
    """The scenes of Middlebury with public flow (Baker et al., "A Database and Evaluation Methodology …", IJCV 2011).

    The pair of a scene is its frames 10 and 11; unknown flow is not valid.

    Args:
        root: The folder that holds `other-data` and `other-gt-flow`.

    Attributes:
        names: Such as `Dimetrodon`.

    Raises:
        InputError: A folder or file is missing.
    """

    layout = (
        "other-data/Dimetrodon/frame10.png, other-data/Dimetrodon/frame11.png and other-gt-flow/Dimetrodon/flow10.flo"
    )

    root: Path

    def __post_init__(self) -> None:
        root = self.root
        scenes = subfolders(root / "other-data", self.layout)
        with_flow = subfolders(root / "other-gt-flow", self.layout)
        expected = [name for name in scenes if name in with_flow or name not in _WITHOUT_FLOW]
        require_same(root / "other-gt-flow", with_flow, expected, "flow", "frames")
        files = ("other-data/{}/frame10.png", "other-data/{}/frame11.png", "other-gt-flow/{}/flow10.flo")
        pairs = [FlowPair(name, *(root / file.format(name) for file in files)) for name in expected]
        for path in chain(*(pair.files() for pair in pairs)):
            if not path.is_file():
                raise InputError(f"{path}: missing; restore it from the data set.")
        super().__init__(root, pairs)
