"""Generating, compiling and running a program that Brian2 writes, with frames out of it while it runs."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import F_SETPIPE_SZ, fcntl
from pathlib import Path
from typing import Any

import numpy as np
from brian2 import Network, device, second
from brian2.core.variables import ArrayVariable
from brian2.devices.device import reset_device, set_device

from rwtl.errors import InputError
from rwtl.waves.config import FRAMES_PER_SHARD, RecordingConfig
from rwtl.waves.model.lattice import build_lattice, preferences
from rwtl.waves.model.state import NANOMOLAR, VARIABLES, Snapshot
from rwtl.waves.simulation import Frame

_PIPE = "RWTL_FRAMES"  # environment variable: number of the file descriptor to which the program writes frames
_PIPE_BYTES = 2**20  # the most that Linux gives without privileges

# Writes the calcium of every frame, and the rest of the state where a snapshot is wanted, in the order of VARIABLES.
_DUMP = """
static void write_array(const void* values, size_t bytes)
{{
    static FILE* frames = fdopen(atoi(getenv("{pipe}")), "wb");
    if (fwrite(values, 1, bytes, frames) != bytes || fflush(frames)) {{ perror("frames"); exit(1); }}
}}
static void write_frame()
{{
    const int64_t steps = _array_{clock}_timestep[0] + 1;
    if (steps % {steps_per_frame}) return;
    const int64_t frame = {first_frame} + steps / {steps_per_frame};
    {calcium}
    if ((frame - {transient_frames}) % {frames_per_shard}) return;
    {rest}
}}
"""


@contextmanager
def program_folder() -> Iterator[Path]:
    """Yield a temporary folder, in which a program is built and run.

    Raises:
        InputError: it cannot be written, is full, or lets no program run.
    """
    directory = tempfile.gettempdir()
    try:
        with tempfile.TemporaryDirectory(prefix="rwtl-simulation-") as directory:
            yield Path(directory)
    except OSError as error:
        raise InputError(
            f"the simulation's program cannot be built or run in {directory} ({error.strerror or error}, "
            f"{error.filename or 'when it was written'}): set TMPDIR to a folder with room that lets programs run"
        ) from error


@contextmanager
def standalone_device(name: str, values: dict[str, Any]) -> Iterator[None]:
    """Set Brian2's global device and some preferences in the block, and reset them after it."""
    set_device(name, build_on_run=False)
    try:
        with preferences(values):
            device.reinit()
            device.activate(build_on_run=False)
            yield
    finally:
        device.reinit()
        reset_device()


def generate(
    config: RecordingConfig, start: Snapshot, directory: Path, write_variable: Callable[[str, int], str]
) -> None:
    """Write the program's source and makefile, on the active device.

    Args:
        config: the simulation.
        start: its first state.
        directory: folder of the program.
        write_variable: statements that hand a variable's values to `write_array(pointer, bytes)`, given the name of its
            array in the program and the number of cells.
    """
    cells, objects = build_lattice(config, start)
    network = Network(objects)
    count = config.rows * config.columns

    def statements(name: str) -> str:
        variable = cells.variables[name]
        assert isinstance(variable, ArrayVariable)
        return write_variable(device.get_array_name(variable), count)

    dump = _DUMP.format(
        pipe=_PIPE,
        clock=cells.clock.name,
        steps_per_frame=config.steps_per_frame,
        first_frame=start.frame,
        transient_frames=config.transient_frames,
        frames_per_shard=FRAMES_PER_SHARD,
        calcium=statements("c"),
        rest="\n    ".join(statements(name) for name in VARIABLES if name != "c"),
    )
    # The network's last object in every step, so a frame is the state after the update.
    device.insert_code("before_network_run", f"{network.name}.add(&{cells.clock.name}, write_frame);")
    frames = config.simulated_frames - start.frame
    network.run(frames * config.steps_per_frame * config.time_step * second, namespace={})
    device.build(directory=str(directory), compile=False, run=False)
    _replace(next(directory.glob("main.c*")), "int main(", f"using namespace brian;\n{dump}\nint main(")
    # Clocks tick together where their times differ by less than this. Brian2's 1e-14 s is finer than a double resolves
    # from 64 s on, when the refresh of the input and the update of a step would fall into each other's place.
    _replace(next(directory.glob("network.c*")), "#define Clock_epsilon 1e-14", "#define Clock_epsilon 1e-9")


def _replace(file: Path, text: str, by: str) -> None:
    source = file.read_text(encoding="utf-8")
    if source.count(text) != 1:
        raise RuntimeError(f"{text!r} occurs {source.count(text)} times in {file.name}: another version of Brian2?")
    file.write_text(source.replace(text, by), encoding="utf-8")


def compile_program(directory: Path, arguments: list[str]) -> None:
    """Run make.

    Raises:
        InputError: the program does not compile.
    """
    # Not as a part of the make that may have started this program.
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    make = subprocess.run(["make", *arguments], cwd=directory, env=environment, capture_output=True, text=True)
    if make.returncode:
        raise InputError(f"the simulation does not compile:\n{(make.stderr or make.stdout)[-2000:]}")


def require_tools(**others: str) -> None:
    """Raise InputError where a C++ compiler, make or another program, given with its remedy, is not on the path."""
    build = "install a C++ compiler and make (on Debian the package build-essential)"
    for tool, remedy in {**others, os.environ.get("CXX", "g++").split()[0]: build, "make": build}.items():
        if shutil.which(tool) is None:
            raise InputError(f"{tool} not found: {remedy}")


def run_program(
    config: RecordingConfig, start: Snapshot, directory: Path, precision: np.dtype, environment: dict[str, str]
) -> Iterator[Frame]:
    """Run the program and yield its frames; the pipe makes it wait for whoever writes them away.

    Raises:
        InputError: it stops early.
    """
    reading, writing = os.pipe()
    fcntl(writing, F_SETPIPE_SZ, _PIPE_BYTES)
    shape, size = (config.rows, config.columns), config.rows * config.columns * precision.itemsize
    with open(directory / "output.txt", "w+", encoding="utf-8") as output, open(reading, "rb") as frames:
        program = subprocess.Popen(
            ["./main", "--results_dir", f"{directory / 'results'}/"],
            cwd=directory,
            env={**os.environ, **environment, _PIPE: str(writing)},
            stdout=output,
            stderr=output,
            pass_fds=(writing,),
        )
        os.close(writing)

        def read() -> np.ndarray:
            if len(values := frames.read(size)) < size:
                output.seek(0)
                raise InputError(
                    f"the simulation stopped after {(number - 1) * config.frame_interval:g} of {config.duration:g} s "
                    f"with exit code {program.wait()}: {output.read()[-2000:].strip() or 'it gave no reason'}"
                )
            return np.frombuffer(values, precision).reshape(shape)

        try:
            for number in range(start.frame + 1, config.simulated_frames + 1):
                calcium, snapshot = read(), None
                if config.has_snapshot(number):
                    values = {name: calcium if name == "c" else read() for name in VARIABLES}
                    snapshot = Snapshot(number, values)
                yield Frame(number, (calcium / NANOMOLAR).astype(np.float32), snapshot)
        finally:
            program.kill()
            program.wait()
