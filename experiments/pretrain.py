"""Pre-train on a source task, such as next-frame prediction on waves, simulating the recording first where missing."""

import hydra
from omegaconf import DictConfig

from rwtl.pipeline.pretraining import CURVE, MODEL, against_baselines, pretraining, skill_of
from rwtl.sweeps.app import readable_errors
from rwtl.training.skill import ratio_to_best


@hydra.main(version_base="1.3", config_path="../conf", config_name="pretrain")
@readable_errors
def main(cfg: DictConfig) -> float | None:
    """Return what a search of hyper-parameters minimises, for next-frame prediction."""
    made = pretraining(cfg)
    table = skill_of(made)
    if table is not None:
        print(table.to_string(index=False, float_format="{:.4g}".format))
    print(against_baselines(made))
    print(f"model: {made.path / MODEL}\ncurve: {made.path / CURVE}")
    return None if table is None else ratio_to_best(table)


if __name__ == "__main__":
    main()
