"""Write the flow of a benchmark's test split in the files that its server accepts: MPI-Sintel or KITTI.

# Sintel's test split, clean and final.
rwtl submit checkpoint=raft-sintel.pth paths.sintel=/data/Sintel
# KITTI 2015's.
rwtl submit checkpoint=raft-kitti.pth submission=kitti paths.kitti=/data/KITTI
# A model of yours, on a GPU.
rwtl submit checkpoint=outputs/training/DIGEST/model.pt trainer=gpu
"""

from omegaconf import DictConfig

from rwtl.pipeline.artifact import Artifact
from rwtl.sweeps.app import experiment


@experiment("submit")
def main(cfg: DictConfig) -> Artifact:
    from rwtl.pipeline.evaluation import submission

    return submission(cfg)
