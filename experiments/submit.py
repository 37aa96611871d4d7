"""Write the flow of a benchmark's test split in the files that its server accepts: MPI-Sintel or KITTI."""

import hydra
from omegaconf import DictConfig

from rwtl import files
from rwtl.pipeline.artifact import Artifact, build
from rwtl.sweeps.app import experiment


@hydra.main(version_base="1.3", config_path="../conf", config_name="submit")
@experiment("rwtl.pipeline.evaluation.submission")
def main(cfg: DictConfig) -> Artifact:
    from rwtl.pipeline.evaluation import submission

    made = build(submission(cfg))
    print(f"submission: {made.path / files.SUBMISSION}")
    return made


if __name__ == "__main__":
    main()
