"""The stages by the kind of their artifacts, for a process that is to make one that a configuration describes."""

from hydra.utils import get_method
from omegaconf import DictConfig

from rwtl.errors import InputError
from rwtl.pipeline.artifact import Artifact

# By name, so that a process loads the stage that it needs: a recording is made without PyTorch.
STAGES = {
    "recording": "rwtl.pipeline.recording.recordings",
    "pretraining": "rwtl.pipeline.pretraining.pretraining",
    "training": "rwtl.pipeline.flow_training.training",
    "evaluation": "rwtl.pipeline.evaluation.evaluation",
    "submission": "rwtl.pipeline.evaluation.submission",
}


def artifact_of(kind: str, cfg: DictConfig, digest: str) -> Artifact:
    """Return the artifact of a kind and digest that a configuration describes.

    Raises InputError where there is none: the code, or a data set, was changed since the digest was told.
    """
    planned = get_method(STAGES[kind])(cfg)
    for artifact in planned if isinstance(planned, list) else [planned]:
        if artifact.digest == digest:
            return artifact
    raise InputError(f"this configuration makes no {kind} {digest}: was the code or a data set changed since?")
