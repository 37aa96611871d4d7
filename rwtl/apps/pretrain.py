"""Pre-train on a source task, such as next-frame prediction on waves, simulating the recording first where missing.

# In seconds: do the parts fit together?
rwtl pretrain debug=tiny
# On waves at 2 s between frames.
rwtl pretrain clips.dt=2
# Four models.
rwtl pretrain -m pretraining.iterations=4,8 pretraining.seed=1,2
"""

from omegaconf import DictConfig

from rwtl.pipeline.artifact import Artifact
from rwtl.sweeps.app import experiment


@experiment("pretrain")
def main(cfg: DictConfig) -> Artifact:
    from rwtl.pipeline.pretraining import pretraining

    return pretraining(cfg)
