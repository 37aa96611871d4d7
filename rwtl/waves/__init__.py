"""Retinal waves: the starburst amacrine cell model, its simulation and its recordings."""

from rwtl.waves.config import RecordingConfig
from rwtl.waves.cpp_engine import CppEngine
from rwtl.waves.sac import RESTING_STATE, SAC_EQUATIONS, SacParameters, SacState
from rwtl.waves.simulation import simulate
from rwtl.waves.store import Recording, open_recording

__all__ = [
    "RESTING_STATE",
    "SAC_EQUATIONS",
    "CppEngine",
    "Recording",
    "RecordingConfig",
    "SacParameters",
    "SacState",
    "open_recording",
    "simulate",
]
