"""An engine in this process, step by step: slow, and open to a debugger."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
from brian2 import Network, second

from rwtl.sections import section
from rwtl.waves.config import RecordingConfig
from rwtl.waves.model.lattice import build_lattice, preferences
from rwtl.waves.model.state import NANOMOLAR, VARIABLES, Precision, Snapshot
from rwtl.waves.simulation import Frame


@section("engine")
class RuntimeEngine:
    """Brian2's runtime mode.

    Attributes:
        target: `cython`, compiled when the simulation starts and kept for the next one, or `numpy`.
        precision: of the state, `float32` or `float64`.

    Raises:
        InputError: a value is none of the choices.
    """

    target: Literal["cython", "numpy"]
    precision: Precision

    def frames(self, config: RecordingConfig, start: Snapshot) -> Iterator[Frame]:
        """Simulate from `start`, and yield the frames."""
        shape = (config.rows, config.columns)
        with self._settings():
            cells, objects = build_lattice(config, start)
            network = Network(objects)
        for number in range(start.frame + 1, config.simulated_frames + 1):
            with self._settings():
                network.run(config.frame_interval * second, namespace={})
            values = {name: cells.variables[name].get_value().reshape(shape).copy() for name in VARIABLES}
            snapshot = Snapshot(number, values) if config.has_snapshot(number) else None
            yield Frame(number, (values["c"] / NANOMOLAR).astype(np.float32), snapshot)

    @contextmanager
    def _settings(self) -> Iterator[None]:
        values = {
            "codegen.target": self.target,
            "core.default_float_dtype": np.dtype(self.precision).type,
            # The model's functions take and give plain numbers; to check that, Brian2 would print their arguments.
            "codegen.runtime.numpy.discard_units": True,
        }
        # Brian2 looks for values above 1e50, which float32 cannot hold.
        with preferences(values), np.errstate(over="ignore"):
            yield
