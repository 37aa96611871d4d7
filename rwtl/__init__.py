"""Retinal-Wave Transfer Learning: can pre-training on simulated retinal waves improve optical flow estimation?

The public names are those of `__init__.pyi`. Each is loaded on first use, so that importing rwtl takes no time.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
