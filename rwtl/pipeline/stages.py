"""The stages by the kind of their artifacts, for a process that is to make one that a configuration describes."""

from omegaconf import DictConfig

from rwtl.errors import InputError
from rwtl.pipeline.artifact import Artifact
from rwtl.pipeline.evaluation import evaluation, submission
from rwtl.pipeline.flow_training import training
from rwtl.pipeline.pretraining import pretraining
from rwtl.pipeline.recording import recordings

STAGES = {
    "recording": recordings,
    "pretraining": lambda cfg: [pretraining(cfg)],
    "training": lambda cfg: [training(cfg)],
    "evaluation": lambda cfg: [evaluation(cfg)],
    "submission": lambda cfg: [submission(cfg)],
}


def artifact_of(kind: str, cfg: DictConfig, digest: str) -> Artifact:
    """Return the artifact of a kind and digest that a configuration describes.

    Raises InputError where there is none: the code, or a data set, was changed since the digest was told.
    """
    for artifact in STAGES[kind](cfg):
        if artifact.digest == digest:
            return artifact
    raise InputError(f"this configuration makes no {kind} {digest}: was the code or a data set changed since?")
