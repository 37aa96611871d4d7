"""Evaluate a RAFT checkpoint of any kind, or the run that the configuration describes, on any data sets.

# In seconds: do the parts fit together?
rwtl evaluate debug=tiny
# Any checkpoint of RAFT: RAFT's own, torchvision's, ptlflow's or one of yours.
rwtl evaluate checkpoint=raft-things.pth evaluation=sintel paths.sintel=/data/Sintel
# What this line trains, on other scenes too.
rwtl evaluate transfer=freeze_encoder 'evaluation.datasets=[procedural_test,procedural_other]'
"""

from omegaconf import DictConfig

from rwtl.pipeline.artifact import Artifact
from rwtl.sweeps.app import experiment


@experiment("evaluate")
def main(cfg: DictConfig) -> Artifact:
    from rwtl.pipeline.evaluation import evaluation

    return evaluation(cfg)
