"""Write the flow of a benchmark's test split in the files that its server accepts: MPI-Sintel or KITTI."""

import hydra
from omegaconf import DictConfig

from rwtl.study import stages
from rwtl.study.app import readable_errors


@hydra.main(version_base="1.3", config_path="../conf", config_name="submit")
@readable_errors
def main(cfg: DictConfig) -> None:
    made = stages.submission(cfg)
    print(f"submission: {made.path / stages.SUBMISSION}")


if __name__ == "__main__":
    main()
