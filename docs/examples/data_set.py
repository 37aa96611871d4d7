"""A data set of one's own: numbered frames, `frame_0000.png` and so on, with the flow to the next, `flow_0000.flo`."""

from itertools import pairwise
from pathlib import Path

import rwtl
from rwtl.flow.pairs import FlowPair, FlowPairs


@rwtl.register_dataset("numbered")
class Numbered(FlowPairs):
    layout = "frame_0000.png, frame_0001.png, flow_0000.flo"

    def __init__(self, root: Path) -> None:
        pairs = []
        for first, second in pairwise(sorted(root.glob("frame_*.png"))):
            flow = root / f"flow_{first.stem.removeprefix('frame_')}.flo"
            pairs.append(FlowPair(first.stem, first, second, flow))
        super().__init__(root, pairs)
