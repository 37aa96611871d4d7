"""Train RAFT for optical flow, from scratch or with a pre-trained encoder, building what is missing upstream."""

import hydra
from omegaconf import DictConfig

from rwtl import files
from rwtl.pipeline.artifact import Artifact, build
from rwtl.sweeps.app import experiment


@hydra.main(version_base="1.3", config_path="../conf", config_name="train")
@experiment("rwtl.pipeline.flow_training.training")
def main(cfg: DictConfig) -> Artifact:
    from rwtl.pipeline.flow_training import training

    made = build(training(cfg))
    last = made.curve.iloc[-1]
    print(f"validation EPE after {last.step:.0f} steps: {last.epe:.3f} px")
    print(f"model: {made.path / files.MODEL}\ncurve: {made.path / files.CURVE}")
    return made


if __name__ == "__main__":
    main()
