"""A data set of one's own: numbered frames, `frame_0000.png` and so on, with the flow to the next, `flow_0000.flo`."""

import sys
from itertools import pairwise
from pathlib import Path

from hydra import compose, initialize_config_dir

from rwtl.flow.catalogue import FLOW_DATASETS
from rwtl.flow.pairs import FlowPair, FlowPairs
from rwtl.pipeline.artifact import build
from rwtl.pipeline.evaluation import errors_by_pair, evaluation


class Numbered(FlowPairs):
    """Every frame with the next one, as far as there is flow."""

    layout = "frame_0000.png, frame_0001.png, flow_0000.flo"

    def __init__(self, root: str) -> None:
        frames = sorted(Path(root).glob("frame_*.png"))
        pairs = []
        for first, second in pairwise(frames):
            flow = Path(root) / f"flow_{first.stem.removeprefix('frame_')}.flo"
            pairs.append(FlowPair(first.stem, first, second, flow))
        super().__init__(Path(root), pairs)


FLOW_DATASETS["numbered"] = Numbered


def main(root: str, overrides: list[str]) -> None:
    conf = Path(__file__).parents[2] / "conf"
    entry = [f"+datasets.mine={{name: numbered, root: {root}}}", "evaluation.datasets=[mine]"]
    with initialize_config_dir(str(conf), version_base="1.3"):
        cfg = compose("evaluate", [*entry, *overrides])
    print(errors_by_pair(build(evaluation(cfg)))[["dataset", "pair", "epe", "no_motion"]])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
