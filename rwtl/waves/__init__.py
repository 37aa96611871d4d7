"""Retinal waves: the starburst amacrine cell model, its simulation and its recordings.

What needs Brian2, which takes seconds to load, is imported from its own module: `model.equations`, `model.functions`,
`model.lattice` and those of `engines`.
"""

from rwtl.waves.config import RecordingConfig
from rwtl.waves.model.parameters import SacParameters
from rwtl.waves.simulation import simulate
from rwtl.waves.store import Recording, open_recording

__all__ = ["Recording", "RecordingConfig", "SacParameters", "open_recording", "simulate"]
