"""Counter-based random numbers: each a function of its seed and of what it is for, never of what was drawn before.

Nothing here may change the bits of what is drawn: artifacts of older versions hold them. `evenly` chooses where chance
has no part.
"""

import zlib

import numpy as np
from jaxtyping import Float32, Float64

# What a generator of `counter_rng` is for is the last of its counters; those before it are named here.
ORDER = 1  # of an epoch's samples: epoch, 0
AUGMENTATION = 2  # of a sample: epoch, number of the sample
SUBSET = 3  # of a data set: 0, 0
CLIPS_IN_TIME = 3  # shuffled: number of the recording, 1 for its validation part; as SUBSET's where both are 0
CELLS_IN_SPACE = 4  # shuffled: rows and columns of the lattice


def counter_rng(seed: int | tuple[int, int], *counter: int) -> np.random.Generator:
    """Return a generator that is a function of the seed, 0 or more, and of up to three counters alone."""
    # A generator advances the first word of its counter: those that differ in another word never overlap.
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, *counter, *[0] * (3 - len(counter))]))


def named_rng(seed: int, purpose: str) -> np.random.Generator:
    """Return a generator that is a function of the seed (0 ≤ seed < 2⁶³) and of what it is for, in words, alone."""
    return counter_rng((seed, zlib.crc32(purpose.encode())))


def evenly(count: int, most: int) -> list[int]:
    """Return at most `most` of the indices 0..`count`-1, evenly spread, the first and the last among them."""
    return np.linspace(0, count - 1, min(most, count)).round().astype(int).tolist()


# More than are used: a new use takes the next ones, and leaves the others as they were.
_UNIFORM = 72
_NORMAL = 56


class Draws:
    """Random values for each layer of each scene, handed out in a fixed order.

    Args:
        key: Seed and number of the split, each 0 or more.
        indices: Numbers of the scenes, at least one, each 0 or more.
        layers: Layers of a scene, at least 1.
    """

    def __init__(self, key: tuple[int, int], indices: list[int], layers: int) -> None:
        self._generators = [counter_rng(key, 0, 0, index) for index in indices]
        uniform = np.array([generator.random((layers, _UNIFORM)) for generator in self._generators])
        normal = np.array([generator.standard_normal((layers, _NORMAL)) for generator in self._generators])
        self._uniform, self._normal = uniform.transpose(2, 0, 1), normal.transpose(2, 0, 1)
        self._uniform_used = self._normal_used = 0

    def uniform(self, count: int) -> Float64[np.ndarray, "{count} scenes layers"]:
        """Return the next values from 0 (included) to 1 for each layer."""
        self._uniform_used += count
        return self._uniform[self._uniform_used - count : self._uniform_used]

    def normal(self, count: int) -> Float64[np.ndarray, "{count} scenes layers"]:
        """Return the next values of mean 0 and standard deviation 1 for each layer."""
        self._normal_used += count
        return self._normal[self._normal_used - count : self._normal_used]

    def field(self, size: int) -> Float32[np.ndarray, "scenes {size}"]:
        """Return many values of mean 0 and standard deviation 1 for each scene."""
        return np.array([generator.standard_normal(size, dtype=np.float32) for generator in self._generators])
