"""Data sets whose pairs are neighbouring frames of a sequence: FlyingThings3D, MPI-Sintel and HD1K."""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from rwtl.data.flow_pairs import FlowPair, FlowPairs, matched_files, one_of, require_same, subfolders
from rwtl.errors import InputError

# By direction, as the names of the files say it.
_FLOW_NAMES = {"into_future": "IntoFuture", "into_past": "IntoPast"}


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

    def __init__(
        self,
        root: str | Path,
        render: str = "clean",
        directions: Iterable[str] = ("into_future", "into_past"),
        camera: str = "left",
        split: str = "TRAIN",
    ) -> None:
        root = Path(root)
        one_of("FlyingThings3D's render", render, ("clean", "final"))
        one_of("FlyingThings3D's camera", camera, ("left", "right"))
        one_of("FlyingThings3D's split", split, ("TRAIN", "TEST"))
        directions = [directions] if isinstance(directions, str) else list(directions)
        for direction in directions:
            one_of("FlyingThings3D's direction", direction, _FLOW_NAMES)
        if len(set(directions)) != len(directions):
            raise InputError(f"FlyingThings3D's directions are {directions}; name each once.")
        frames_root, flow_root = root / f"frames_{render}pass" / split, root / "optical_flow" / split
        sequences = _two_levels(frames_root, self.layout)
        require_same(flow_root, _two_levels(flow_root, self.layout), sequences, "flow", "frames")
        frames = {}
        for sequence in sequences:
            folder = frames_root / sequence / camera
            frames[sequence] = matched_files(folder, r"(\d{4})", ".png", self.layout)
            _refuse_gaps(frames[sequence], folder)
        pairs = []
        for direction in directions:
            pattern = rf"OpticalFlow{_FLOW_NAMES[direction]}_(\d{{4}})_{camera[0].upper()}"
            for sequence in sequences:
                folder = flow_root / sequence / direction / camera
                flow = matched_files(folder, pattern, ".pfm", self.layout)
                prefix, backwards = f"{sequence}/{direction}/", direction == "into_past"
                pairs += _neighbours(prefix, frames[sequence], flow, folder, spare_flow=True, backwards=backwards)
        super().__init__(root, pairs)


class Sintel(FlowPairs):
    """MPI-Sintel (Butler et al., "A Naturalistic Open Source Movie for Optical Flow Evaluation", ECCV 2012).

    Args:
        root: The folder that holds `training` or `test`.
        render: `clean` or `final`.
        split: `training`, or `test`, whose flow is not public: it is 0 and nowhere valid.

    Attributes:
        names: Such as `alley_1/frame_0001`, after the first frame.
        render: As given.
        sequences: The sequence of each pair, such as `alley_1`; the pairs of one follow each other in time.

    Raises:
        InputError: A folder or file is missing, a sequence has a gap, or an argument is none of those above.
    """

    layout = "training/clean/alley_1/frame_0001.png and training/flow/alley_1/frame_0001.flo"

    def __init__(self, root: str | Path, render: str = "clean", split: str = "training") -> None:
        root = Path(root)
        one_of("Sintel's render", render, ("clean", "final"))
        one_of("Sintel's split", split, ("training", "test"))
        frames_root, flow_root = root / split / render, root / split / "flow"
        sequences = subfolders(frames_root, self.layout)
        if split == "training":
            require_same(flow_root, subfolders(flow_root, self.layout), sequences, "flow", "frames")
        pairs = []
        for sequence in sequences:
            frames = matched_files(frames_root / sequence, r"(frame_\d{4})", ".png", self.layout)
            _refuse_gaps(frames, frames_root / sequence)
            flow = None
            if split == "training":
                flow = matched_files(flow_root / sequence, r"(frame_\d{4})", ".flo", self.layout)
            pairs += _neighbours(f"{sequence}/", frames, flow, flow_root / sequence, spare_flow=False)
        super().__init__(root, pairs)
        self.render = render
        self.sequences = [name.rpartition("/")[0] for name in self.names]


class HD1K(FlowPairs):
    """HD1K (Kondermann et al., "The HCI Benchmark Suite", CVPR Workshops 2016); its flow is sparse.

    As in RAFT's training, each frame is paired with the next one that is there, and the flow of a sequence's last frame
    is left out.

    Args:
        root: The folder that holds `hd1k_input` and `hd1k_flow_gt`.

    Attributes:
        names: Such as `000000_0000`, after the first frame.

    Raises:
        InputError: A folder or file is missing.
    """

    sparse = True
    layout = "hd1k_input/image_2/000000_0000.png and hd1k_flow_gt/flow_occ/000000_0000.png"

    def __init__(self, root: str | Path) -> None:
        root = Path(root)
        frames_folder, flow_folder = root / "hd1k_input" / "image_2", root / "hd1k_flow_gt" / "flow_occ"
        frames, flow = (
            _by_sequence(matched_files(folder, r"(\d{6}_\d{4})", ".png", self.layout))
            for folder in (frames_folder, flow_folder)
        )
        require_same(flow_folder, flow, frames, "flow", "frames")
        pairs = []
        for sequence in frames:
            pairs += _neighbours("", frames[sequence], flow[sequence], flow_folder, spare_flow=True)
        super().__init__(root, pairs)


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


def _refuse_gaps(frames: dict[str, Path], folder: Path) -> None:
    numbers = [int(name.removeprefix("frame_")) for name in frames]
    for before, after in pairwise(numbers):
        if after != before + 1:
            raise InputError(f"{folder}: frame {before} is followed by frame {after}; restore the frames between them.")


def _two_levels(folder: Path, layout: str) -> list[str]:
    """Return the sequences of FlyingThings3D in a folder, such as `A/0000`."""
    letters = subfolders(folder, layout)
    return [f"{letter}/{number}" for letter in letters for number in subfolders(folder / letter, layout)]


def _by_sequence(files: dict[str, Path]) -> dict[str, dict[str, Path]]:
    sequences: dict[str, dict[str, Path]] = {}
    for name, path in files.items():
        sequences.setdefault(name.split("_")[0], {})[name] = path
    return sequences
