"""Pre-train the next-frame model on clips of waves, simulating the recording first where it is missing."""

import hydra
from omegaconf import DictConfig

from rwtl.study import stages
from rwtl.study.app import readable_errors


@hydra.main(version_base="1.3", config_path="../conf", config_name="pretrain")
@readable_errors
def main(cfg: DictConfig) -> None:
    made = stages.pretraining(cfg)
    print(stages.against_baselines(made))
    print(f"model: {made.path / stages.MODEL}\ncurve: {made.path / stages.CURVE}")


if __name__ == "__main__":
    main()
