"""Simulate a recording of retinal waves and draw it.

# In seconds: do the parts fit together?
rwtl simulate debug=tiny
# Spirals in place of rings, from other random numbers.
rwtl simulate recording=spirals recording.seed=1
# Three recordings, from weak to strong coupling.
rwtl simulate -m recording.cell.g_A=0.05,0.1,0.2
"""

from omegaconf import DictConfig

from rwtl.pipeline.artifact import Artifact
from rwtl.sweeps.app import experiment


@experiment("simulate")
def main(cfg: DictConfig) -> Artifact:
    from rwtl.pipeline.recording import recording

    return recording(cfg)
