"""Runs a simulation as a C++ program that Brian2 generates, and streams its frames."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from brian2 import BrianLogger, Network, device, prefs, second
from brian2.devices.device import reset_device, set_device

from rwtl.errors import InputError
from rwtl.waves.config import RecordingConfig
from rwtl.waves.lattice import build_lattice

# The whole loop over cells has to vectorise, so that its functions run in the vector library of glibc: gcc must accept
# many pointers that might alias, and in single precision no literal may draw the arithmetic up to double.
_LOOP_FLAGS = "-O3 -ffast-math -march=native -mprefer-vector-width=512 --param=vect-max-version-for-alias-checks=1000"
_SINGLE_PRECISION_FLAGS = "-fsingle-precision-constant"
# std::pow(float, int) computes in double.
_POWERS = "#pragma once\nstatic inline float pow(float x, int exponent) { return __builtin_powif(x, exponent); }\n"

# Cells that a thread takes at a time, a multiple of any vector length.
_BLOCK = 256

# "OpenMP code is not yet well tested": the tests here compare it with one thread.
BrianLogger.suppress_name("openmp")


@dataclass
class CppEngine:
    """Brian2's C++ standalone mode. Needs a C++ compiler and GNU make.

    Attributes:
        threads: of OpenMP; the frames do not depend on it.
        precision: of the state, `float32` or `float64`. float32 moves calcium by about 3 nM (RMS) over 30 s of waves
            that reach 650 nM.

    Raises:
        InputError: threads is below 1, or the precision is another.
    """

    threads: int
    precision: str

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise InputError(f"engine.threads is {self.threads}: it must be at least 1")
        if self.precision not in ("float32", "float64"):
            raise InputError(f"engine.precision is {self.precision!r}: choose float32 or float64")

    def frames(self, config: RecordingConfig) -> Iterator[np.ndarray]:
        """Build the program in a temporary directory, run it, and yield its calcium.

        Yields:
            float32 (row, column) in nM at the end of every frame interval, the transient included.

        Raises:
            InputError: the compiler or make is missing.
            InputError: the program does not compile, or stops early.
        """
        _require_tools()
        with tempfile.TemporaryDirectory(prefix="rwtl-simulation-") as name:
            directory = Path(name)
            with _standalone(self):
                _generate(config, directory)
            _compile(directory, self.precision)
            yield from _run(config, directory, np.dtype(self.precision))


def _require_tools() -> None:
    for tool in (os.environ.get("CXX", "g++").split()[0], "make"):
        if shutil.which(tool) is None:
            raise InputError(
                f"{tool} not found: install a C++ compiler and make (on Debian the package build-essential)"
            )


@contextmanager
def _standalone(engine: CppEngine) -> Iterator[None]:
    """Brian2's global device and preferences as the engine needs them, and as they were afterwards."""
    wanted = {
        "core.default_float_dtype": np.dtype(engine.precision).type,
        "codegen.cpp.extra_compile_args_gcc": ["-w", "-std=c++17"],
        "codegen.cpp.headers": ['"powers.h"'],
        "devices.cpp_standalone.openmp_threads": engine.threads,
    }
    before = {name: prefs[name] for name in wanted}
    set_device("cpp_standalone", build_on_run=False)
    try:
        for name, value in wanted.items():
            prefs[name] = value
        device.reinit()
        device.activate(build_on_run=False)
        yield
    finally:
        for name, value in before.items():
            prefs[name] = value
        device.reinit()
        reset_device()


def _generate(config: RecordingConfig, directory: Path) -> None:
    """Write the program's source and makefile."""
    cells, objects = build_lattice(config.rows, config.columns, config.time_step, config.seed, config.cell)
    network = Network(objects)
    calcium = device.get_array_name(cells.variables["c"])
    # The network's last object in every step, so a frame is the state after the update.
    device.insert_code(
        "before_network_run",
        f"""{network.name}.add(&{cells.clock.name}, []() {{
            if ((_array_{cells.clock.name}_timestep[0] + 1) % {config.steps_per_frame}) return;
            const size_t cells = {config.rows * config.columns};
            if (fwrite({calcium}, sizeof({calcium}[0]), cells, stdout) != cells || fflush(stdout)) exit(1);
        }});""",
    )
    network.run(config.simulated_frames * config.steps_per_frame * config.time_step * second, namespace={})
    device.build(directory=str(directory), compile=False, run=False)
    (directory / "powers.h").write_text(_POWERS)
    # A vector loop and the scalar rest after it round differently; with blocks of a fixed size, not one per thread, a
    # cell is always in the same one of the two.
    for source in (directory / "code_objects").glob("*.cpp"):
        source.write_text(source.read_text().replace("schedule(static)", f"schedule(static, {_BLOCK})"))


def _compile(directory: Path, precision: str) -> None:
    # Only the loops over cells are worth optimising; the rest of the program compiles faster without.
    flags = f"{_LOOP_FLAGS} {_SINGLE_PRECISION_FLAGS}" if precision == "float32" else _LOOP_FLAGS
    with open(directory / "makefile", "a") as makefile:
        makefile.write(f"\ncode_objects/%.o: CXXFLAGS += {flags}\n")
    make = subprocess.run(["make", "-j2"], cwd=directory, capture_output=True, text=True)
    if make.returncode:
        raise InputError(f"the simulation does not compile:\n{make.stderr[-2000:]}")


def _run(config: RecordingConfig, directory: Path, precision: np.dtype) -> Iterator[np.ndarray]:
    """Run the program; its standard output is a pipe of frames, which makes it wait for whoever writes them away."""
    count = config.rows * config.columns
    results = directory / "results"
    # Threads that wait for each other spin only briefly: where other programs share the cores, long spinning slows the
    # simulation several times.
    environment = {**os.environ, "GOMP_SPINCOUNT": "1000"}
    with open(directory / "errors.txt", "w+") as errors:
        program = subprocess.Popen(
            ["./main", "--results_dir", f"{results}/"],
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        try:
            for done in range(config.simulated_frames):
                frame = program.stdout.read(count * precision.itemsize)
                if len(frame) < count * precision.itemsize:
                    errors.seek(0)
                    raise InputError(
                        f"the simulation stopped after {done * config.frame_interval:g} of {config.duration:g} s with "
                        f"exit code {program.wait()}: {errors.read()[-2000:].strip() or 'it gave no reason'}"
                    )
                calcium = np.frombuffer(frame, precision).reshape(config.rows, config.columns)
                yield (calcium * 1e6).astype(np.float32)  # mol/m³ to nM
        finally:
            program.kill()
            program.stdout.close()
            program.wait()
