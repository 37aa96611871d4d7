"""A job of a cluster that makes one artifact which jobs of a sweep need."""

import sys
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rwtl.errors import InputError


class StageJob:
    """Is called on the cluster, and again after it was queued again.

    Args:
        kind, config, digest: those of the artifact's Step.
    """

    def __init__(self, kind: str, config: DictConfig, digest: str):
        self.kind, self.digest = kind, digest
        self.config = OmegaConf.to_container(config, resolve=False)

    def __call__(self) -> None:
        from rwtl.study.planning import make_step

        try:
            make_step(self.kind, OmegaConf.create(self.config), self.digest)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            raise

    def checkpoint(self) -> Any:
        """What submitit queues again: the artifact itself is what is gone on with."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
