"""Compare runs over seeds, made where they are missing or read from wherever they are, and report what they show.

# In seconds: do the parts fit together?
rwtl compare debug=tiny
# Waves beside other sources and none, made where they are missing.
rwtl compare experiment=controls executor.jobs=2
# Runs that are there: those of a sweep.
rwtl compare runs=outputs/sweeps/NAME rows=transfer columns=clips.dt
"""

from omegaconf import DictConfig

from rwtl.pipeline.artifact import Artifact
from rwtl.sweeps.app import experiment


@experiment("compare")
def main(cfg: DictConfig) -> Artifact:
    from rwtl.comparing.comparison import comparison

    return comparison(cfg)
