"""An engine that runs a C++ program, which Brian2 generates."""

from collections.abc import Iterator
from math import ceil
from pathlib import Path

import numpy as np
from brian2 import BrianLogger

from rwtl.sections import Threads, section
from rwtl.waves.config import RecordingConfig
from rwtl.waves.engines.standalone import (
    compile_program,
    generate,
    program_folder,
    require_tools,
    run_program,
    standalone_device,
)
from rwtl.waves.model.state import Precision, Snapshot
from rwtl.waves.simulation import Frame

# The whole loop over cells has to vectorise: gcc must accept many pointers that might alias. The two stages of a step
# are one long chain of dependent operations; gcc's first scheduling pass, off by default on x86, moves the noise, which
# does not depend on them, into its gaps. A division is faster here than an approximate reciprocal and its correction.
_LOOP_FLAGS = (
    "-O3 -ffast-math -fschedule-insns -mrecip=!vec-div -march=native -mprefer-vector-width=512 "
    "--param=vect-max-version-for-alias-checks=1000"
)
# In single precision no literal may draw the arithmetic up to double.
_SINGLE_PRECISION_FLAGS = "-fsingle-precision-constant"
# std::pow(float, int) computes in double.
_POWERS = "#pragma once\nstatic inline float pow(float x, int exponent) { return __builtin_powif(x, exponent); }\n"

# A thread's cells are a multiple of this, itself a multiple of any vector length.
_BLOCK = 64

# "OpenMP code is not yet well tested": the tests here compare it with one thread.
BrianLogger.suppress_name("openmp")


@section("engine")
class CppEngine:
    """Brian2's C++ standalone mode. Needs a C++ compiler and GNU make.

    Attributes:
        threads: of OpenMP; the frames do not depend on it.
        precision: of the state, `float32` or `float64`. float32 moves calcium by about 3 nM (RMS) over 30 s of waves
            that reach 650 nM.

    Raises:
        InputError: threads is below 1, or the precision is another.
    """

    threads: Threads
    precision: Precision

    def frames(self, config: RecordingConfig, start: Snapshot) -> Iterator[Frame]:
        """Build the program in a temporary directory, run it from `start`, and yield its frames.

        Raises:
            InputError: the compiler or make is missing.
            InputError: the program does not compile, or stops early; or the folder for temporary files is of no use.
        """
        require_tools()
        with program_folder() as directory:
            with standalone_device("cpp_standalone", self._preferences()):
                generate(config, start, directory, _write_variable)
            blocks = ceil(config.rows * config.columns / _BLOCK)
            _tune(directory, self.precision, ceil(blocks / self.threads) * _BLOCK)
            compile_program(directory, ["-j2"])
            # Threads that wait for each other spin only briefly: where other programs share the cores, long spinning
            # slows the simulation several times.
            environment = {"GOMP_SPINCOUNT": "1000"}
            yield from run_program(config, start, directory, np.dtype(self.precision), environment)

    def _preferences(self) -> dict:
        return {
            "core.default_float_dtype": np.dtype(self.precision).type,
            "codegen.cpp.extra_compile_args_gcc": ["-w", "-std=c++17"],
            "codegen.cpp.headers": ['"powers.h"'],
            "devices.cpp_standalone.openmp_threads": self.threads,
        }


def _write_variable(array: str, count: int) -> str:
    return f"write_array({array}, {count} * sizeof({array}[0]));"


def _tune(directory: Path, precision: str, cells_per_thread: int) -> None:
    (directory / "powers.h").write_text(_POWERS, encoding="utf-8")
    # A vector loop and the scalar rest after it round differently. Where every thread but the last has whole vectors, a
    # cell is in the same one of the two for any number of threads. One piece for each thread: neighbouring small ones
    # would have the processors fetch, ahead, cells that the other one writes.
    for source in (directory / "code_objects").glob("*.cpp"):
        source.write_text(
            source.read_text(encoding="utf-8").replace("schedule(static)", f"schedule(static, {cells_per_thread})"),
            encoding="utf-8",
        )
    # Only the loops over cells are worth optimising; the rest of the program compiles faster without.
    flags = f"{_LOOP_FLAGS} {_SINGLE_PRECISION_FLAGS}" if precision == "float32" else _LOOP_FLAGS
    with open(directory / "makefile", "a", encoding="utf-8") as makefile:
        makefile.write(f"\ncode_objects/%.o: CXXFLAGS += {flags}\n")
