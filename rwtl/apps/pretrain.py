"""Pre-train on a source task, such as next-frame prediction on waves, simulating the recording first where missing."""

from omegaconf import DictConfig

from rwtl import files
from rwtl.pipeline.artifact import Artifact, build
from rwtl.sweeps.app import experiment


@experiment("pretrain", "rwtl.pipeline.pretraining.pretraining")
def main(cfg: DictConfig) -> tuple[Artifact, float | None]:
    """Return the pre-training, and for next-frame prediction the number that a search of hyper-parameters minimises."""
    from rwtl.learning.skill import ratio_to_best
    from rwtl.pipeline.pretraining import pretraining

    made = build(pretraining(cfg))
    table = made.skill
    if table is not None:
        print(table.to_string(index=False, float_format="{:.4g}".format))
    print(made.verdict)
    print(f"model: {made.path / files.MODEL}\ncurve: {made.path / files.CURVE}")
    return made, None if table is None else ratio_to_best(table)
