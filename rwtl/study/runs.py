"""A finished run, as the comparison and the report see it."""

from dataclasses import dataclass

from rwtl.study.artifact import Artifact


@dataclass(frozen=True)
class Run:
    """One finished training with its evaluation.

    Args:
        row: the condition's name in the comparison.
        seed: of the training.
        training, evaluation: its artifacts.
    """

    row: str
    seed: int
    training: Artifact
    evaluation: Artifact
