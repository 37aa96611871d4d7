"""Write the flow of a benchmark's test split in the files that its server accepts: MPI-Sintel or KITTI."""

import hydra
from omegaconf import DictConfig

from rwtl.pipeline.stages import SUBMISSION, submission
from rwtl.sweeps.app import readable_errors


@hydra.main(version_base="1.3", config_path="../conf", config_name="submit")
@readable_errors
def main(cfg: DictConfig) -> None:
    made = submission(cfg)
    print(f"submission: {made.path / SUBMISSION}")


if __name__ == "__main__":
    main()
