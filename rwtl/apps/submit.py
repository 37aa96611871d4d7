"""Write the flow of a benchmark's test split in the files that its server accepts: MPI-Sintel or KITTI."""

from omegaconf import DictConfig

from rwtl import files
from rwtl.pipeline.artifact import Artifact, build
from rwtl.sweeps.app import experiment


@experiment("submit", "rwtl.pipeline.evaluation.submission")
def main(cfg: DictConfig) -> Artifact:
    from rwtl.pipeline.evaluation import submission

    made = build(submission(cfg))
    print(f"submission: {made.path / files.SUBMISSION}")
    return made
