"""Pre-train on a source task, such as next-frame prediction on waves, simulating the recording first where missing."""

import hydra
from omegaconf import DictConfig

from rwtl.study import stages
from rwtl.study.app import readable_errors
from rwtl.training.skill import ratio_to_best


@hydra.main(version_base="1.3", config_path="../conf", config_name="pretrain")
@readable_errors
def main(cfg: DictConfig) -> float | None:
    """Return what a search of hyper-parameters minimises, for next-frame prediction."""
    made = stages.pretraining(cfg)
    table = stages.skill_of(made)
    if table is not None:
        print(table.to_string(index=False, float_format="{:.4g}".format))
    print(stages.against_baselines(made))
    print(f"model: {made.path / stages.MODEL}\ncurve: {made.path / stages.CURVE}")
    return None if table is None else ratio_to_best(table)


if __name__ == "__main__":
    main()
