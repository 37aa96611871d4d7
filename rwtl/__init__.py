"""Retinal-Wave Transfer Learning: can pre-training on simulated retinal waves improve optical flow estimation?"""

__version__ = "0.1.0"
