"""Train RAFT for optical flow, from scratch or with a pre-trained encoder, building what is missing upstream."""

from omegaconf import DictConfig

from rwtl import files
from rwtl.pipeline.artifact import Artifact, build
from rwtl.sweeps.app import experiment


@experiment("train", "rwtl.pipeline.flow_training.training")
def main(cfg: DictConfig) -> Artifact:
    from rwtl.pipeline.flow_training import training

    made = build(training(cfg))
    last = made.curve.iloc[-1]
    print(f"validation EPE after {last.step:.0f} steps: {last.epe:.3f} px")
    print(f"model: {made.path / files.MODEL}\ncurve: {made.path / files.CURVE}")
    return made
