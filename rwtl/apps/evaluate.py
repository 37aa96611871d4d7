"""Evaluate a RAFT checkpoint of any kind, or the run that the configuration describes, on any data sets."""

from omegaconf import DictConfig

from rwtl import files
from rwtl.pipeline.artifact import Artifact, build
from rwtl.sweeps.app import experiment


@experiment("evaluate", "rwtl.pipeline.evaluation.evaluation")
def main(cfg: DictConfig) -> Artifact:
    from rwtl.comparing.tables import print_evaluation
    from rwtl.pipeline.evaluation import evaluation

    made = build(evaluation(cfg))
    print_evaluation(made.errors)
    print(f"table: {made.path / files.ERRORS}")
    return made
