"""Train RAFT for optical flow, from scratch or with a pre-trained encoder, building what is missing upstream."""

import hydra
from omegaconf import DictConfig

from rwtl.study import stages
from rwtl.study.app import readable_errors


@hydra.main(version_base="1.3", config_path="../conf", config_name="train")
@readable_errors
def main(cfg: DictConfig) -> None:
    made = stages.training(cfg)
    last = stages.curve(made).iloc[-1]
    print(f"validation EPE after {last.step:.0f} steps: {last.epe:.3f} px")
    print(f"model: {made.path / stages.MODEL}\ncurve: {made.path / stages.CURVE}")


if __name__ == "__main__":
    main()
