"""Benchmarks of single pairs: KITTI 2015 and Middlebury."""

from pathlib import Path

from rwtl.data.flow_pairs import FlowPair, FlowPairs, matched_files, one_of, require_same, subfolders
from rwtl.errors import InputError

# The scenes of `other-data` whose flow Middlebury does not publish.
_WITHOUT_FLOW = {"Beanbags", "DogDance", "MiniCooper", "Walking"}


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

    def __init__(self, root: str | Path, split: str = "training") -> None:
        root = Path(root)
        one_of("KITTI's split", split, ("training", "testing"))
        frames_folder, flow_folder = root / split / "image_2", root / split / "flow_occ"
        frames = matched_files(frames_folder, r"(\d{6}_\d{2})", ".png", self.layout)
        first, second = ([name[:-3] for name in frames if name.endswith(end)] for end in ("_10", "_11"))
        require_same(frames_folder, second, first, "frame 11", "frame 10")
        flow: dict[str, Path] = {}
        if split == "training":
            flow = matched_files(flow_folder, r"(\d{6}_10)", ".png", self.layout)
            require_same(flow_folder, (name[:-3] for name in flow), first, "flow", "frames")
        pairs = [
            FlowPair(f"{name}_10", frames[f"{name}_10"], frames[f"{name}_11"], flow.get(f"{name}_10")) for name in first
        ]
        super().__init__(root, pairs)


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

    def __init__(self, root: str | Path) -> None:
        root = Path(root)
        scenes = subfolders(root / "other-data", self.layout)
        with_flow = subfolders(root / "other-gt-flow", self.layout)
        expected = [name for name in scenes if name in with_flow or name not in _WITHOUT_FLOW]
        require_same(root / "other-gt-flow", with_flow, expected, "flow", "frames")
        pairs = []
        for name in expected:
            frames, flow = root / "other-data" / name, root / "other-gt-flow" / name
            pair = FlowPair(name, frames / "frame10.png", frames / "frame11.png", flow / "flow10.flo")
            for path in pair.files():
                if not path.is_file():
                    raise InputError(f"{path}: missing; restore it from the data set.")
            pairs.append(pair)
        super().__init__(root, pairs)
