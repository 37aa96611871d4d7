"""Write the flow of a benchmark's test split in the files that its server accepts: MPI-Sintel or KITTI."""

from omegaconf import DictConfig

from rwtl.pipeline.artifact import Artifact
from rwtl.sweeps.app import experiment


@experiment("submit")
def main(cfg: DictConfig) -> Artifact:
    from rwtl.pipeline.evaluation import submission

    return submission(cfg)
