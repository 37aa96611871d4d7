"""Train RAFT for optical flow, from scratch or with a pre-trained encoder, building what is missing upstream.

# In seconds: do the parts fit together?
rwtl train debug=tiny
# With an encoder that is pre-trained on waves, and frozen.
rwtl train transfer=freeze_encoder seed=2
# Two strategies over three seeds; what they share is made once.
rwtl train -m transfer=scratch,freeze_encoder seed=1,2,3
"""

from omegaconf import DictConfig

from rwtl.pipeline.artifact import Artifact
from rwtl.sweeps.app import experiment


@experiment("train")
def main(cfg: DictConfig) -> Artifact:
    from rwtl.pipeline.flow_training import training

    return training(cfg)
