"""The state of a simulation between two frames: where it starts, and where it can be resumed to the same bits."""

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from rwtl.errors import InputError

# Of every cell, in the order in which programs write them: membrane potential (V), the gates n, r, s, calcium and
# acetylcholine (mol/m³, which is mM).
VARIABLES = ("v", "n", "r", "s", "c", "a")
NANOMOLAR = 1e-6  # mol/m³


def require_precision(precision: str) -> None:
    """Raise InputError where an engine's precision is neither float32 nor float64."""
    if precision not in ("float32", "float64"):
        raise InputError(f"engine.precision is {precision!r}: choose float32 or float64")


@dataclass(frozen=True)
class Snapshot:
    """All that a simulation needs to go on.

    Attributes:
        frame: frame intervals that have been simulated, the transient included.
        values: the state of every cell, by variable, (row, column), in SI units and the engine's precision.
    """

    frame: int
    values: dict[str, Float[np.ndarray, "row column"]]

    def save(self, file: Path) -> None:
        """Write the snapshot in one step: after a kill at any moment the file is the old or the new one."""
        draft = file.with_name(f"{file.name}.partial")
        try:
            with open(draft, "wb") as stream:
                np.savez(stream, frame=self.frame, **self.values)
            os.replace(draft, file)
        except OSError:
            draft.unlink(missing_ok=True)
            raise


def load_snapshot(file: Path) -> Snapshot:
    """Read what `Snapshot.save` wrote.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        with np.load(file, allow_pickle=False) as content:
            return Snapshot(int(content["frame"]), {name: content[name] for name in VARIABLES})
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{file}, from which the recording would be resumed, is missing or damaged ({error}): remove "
            f"{file.parent} to simulate it anew"
        ) from error
