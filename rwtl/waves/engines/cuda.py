"""An engine that runs a CUDA program on a GPU, which Brian2CUDA generates."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from brian2 import BrianLogger

from rwtl.errors import InputError
from rwtl.sections import Range, section
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

# Not -use_fast_math, Brian2CUDA's default: its tanh is right to 11 bits only. These round division and square root to
# one bit less, and flush numbers below 1e-38 to 0.
_ARITHMETIC_FLAGS = ["-ftz=true", "-prec-div=false", "-prec-sqrt=false"]
# std::pow(float, int) computes in double. The model's exponents are positive.
_POWER = "static __host__ __device__ inline T pow(T x, int n) { T y = x; while (--n) y *= x; return y; }\n"
_POWERS = "#pragma once\n" + _POWER.replace("T", "float") + _POWER.replace("T", "double")
# Blocks this small leave few cells for the last round of blocks, which does not fill the GPU.
_THREADS_PER_BLOCK = 128
_OLDEST_GPU = 5.0  # for Brian2CUDA

# It logs every preference, and warns of a statement that has both the noise's integers and a function, whose argument
# they are not.
BrianLogger.suppress_hierarchy("brian2cuda")


@section("engine")
class CudaEngine:
    """Brian2CUDA's standalone mode, on the first GPU that CUDA sees. Needs NVIDIA's driver, the CUDA toolkit 12 or 13
    with nvcc on the path, a C++ compiler, GNU make, and the extra `cuda` of rwtl.

    Attributes:
        precision: of the state, `float32` or `float64`. float32 moves calcium by about 3 nM (RMS) over 30 s of waves
            that reach 650 nM.
        compute_capability: of the GPU, such as 9.0; None asks the driver. To build where there is no GPU, give it.

    Raises:
        InputError: a value is none of the choices or out of range.
    """

    precision: Precision
    compute_capability: Annotated[float, Range(_OLDEST_GPU)] | None

    def frames(self, config: RecordingConfig, start: Snapshot) -> Iterator[Frame]:
        """Build the program in a temporary directory, run it from `start`, and yield its frames.

        Raises:
            InputError: the GPU or a tool is missing.
            InputError: the program does not compile, or stops early.
        """
        with program_folder() as directory:
            self.build(config, start, directory)
            # CUDA's own order of GPUs is another than nvidia-smi's, which was asked for the compute capability.
            environment = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
            yield from run_program(config, start, directory, np.dtype(self.precision), environment)

    def build(self, config: RecordingConfig, start: Snapshot, directory: Path) -> None:
        """Generate and compile the program.

        Raises:
            InputError: a tool is missing, or the GPU where no compute capability was given.
            InputError: the program does not compile.
        """
        capability = self.compute_capability or _compute_capability()
        _require_tools()
        compiler_flags, linker_flags = _curand(directory)
        import brian2cuda  # noqa: F401  it registers the device and its preferences

        with standalone_device("cuda_standalone", self._preferences(config.rows * config.columns, capability)):
            generate(config, start, directory, _write_variable)
        _tune(directory, compiler_flags, linker_flags)
        compile_program(directory, [f"-j{len(os.sched_getaffinity(0))}"])

    def _preferences(self, cells: int, compute_capability: float) -> dict[str, Any]:
        device, backend = "devices.cuda_standalone", "devices.cuda_standalone.cuda_backend"
        return {
            "core.default_float_dtype": np.dtype(self.precision).type,
            "codegen.cpp.extra_compile_args_gcc": ["-w"],
            "codegen.cpp.headers": ['"powers.h"'],
            f"{device}.calc_occupancy": False,
            f"{device}.parallel_blocks": ceil(cells / _THREADS_PER_BLOCK),
            f"{backend}.extra_compile_args_nvcc": ["-w", *_ARITHMETIC_FLAGS],
            f"{backend}.detect_gpus": False,
            f"{backend}.gpu_id": 0,
            f"{backend}.compute_capability": compute_capability,
            # The nvcc on the path, whatever CUDA_PATH says.
            f"{backend}.detect_cuda": False,
            f"{backend}.cuda_path": str(Path(shutil.which("nvcc")).parents[1]),
            f"{backend}.cuda_runtime_version": _toolkit_version(),
        }


def _compute_capability() -> float:
    """Return the compute capability of the first GPU that a program may use, in nvidia-smi's order."""
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        command.append(f"--id={visible.split(',')[0]}")
    try:
        answer = subprocess.run(command, capture_output=True, text=True)
        if answer.returncode == 0 and (number := re.match(r"\d+\.\d+", answer.stdout)):
            return float(number[0])
        reason = f"{shlex.join(command)} says {(answer.stdout + answer.stderr).strip()!r}"
    except FileNotFoundError:
        reason = "nvidia-smi, a part of NVIDIA's driver, is not installed"
    raise InputError(
        f"no GPU found ({reason}): engine=cuda needs an NVIDIA GPU and its driver; on another machine use engine=cpp"
    )


def _require_tools() -> None:
    require_tools(nvcc="install the CUDA toolkit 12 or 13 and put its folder bin on PATH")
    if find_spec("brian2cuda") is None:
        raise InputError("brian2cuda is not installed: pip install 'rwtl[cuda]'")


def _toolkit_version() -> float:
    answer = subprocess.run(["nvcc", "--version"], capture_output=True, text=True).stdout
    return float(re.search(r"release (\d+\.\d+)", answer)[1])


def _curand(directory: Path) -> tuple[str, str]:
    """Flags of compiler and linker with which a program finds cuRAND, to which Brian2CUDA links any program: none where
    the toolkit has it, else those for NVIDIA's Python package."""
    probe = directory / "probe.cu"
    probe.write_text("#include <curand_kernel.h>\nint main() {}\n", encoding="utf-8")
    command = ["nvcc", "-lcurand", "-o", str(directory / "probe"), str(probe)]
    if subprocess.run(command, capture_output=True).returncode == 0:
        return "", ""
    package, extra = ("nvidia-curand", "'rwtl[cuda]'") if _toolkit_version() >= 13 else ("nvidia-curand-cu12",) * 2
    try:
        files = {file.name: Path(file.locate()) for file in metadata.files(package) or []}
        header, library = files["curand_kernel.h"], files["libcurand.so.10"]
    except (metadata.PackageNotFoundError, KeyError):
        raise InputError(
            f"cuRAND is neither in nvcc's toolkit nor installed as {package}: pip install {extra}"
        ) from None
    (directory / "libcurand.so").symlink_to(library)
    return f"-I{shlex.quote(str(header.parent))}", f"-L. -Xlinker -rpath -Xlinker {shlex.quote(str(library.parent))}"


def _write_variable(array: str, count: int) -> str:
    size = f"{count} * sizeof({array}[0])"
    copy = f"CUDA_SAFE_CALL(cudaMemcpy({array}, dev{array}, {size}, cudaMemcpyDeviceToHost));"
    return f"{copy} write_array({array}, {size});"


def _tune(directory: Path, compiler_flags: str, linker_flags: str) -> None:
    (directory / "powers.h").write_text(_POWERS, encoding="utf-8")
    # The program has none of the growing arrays that Thrust is for, and compiles four times faster without its headers.
    for source in [*directory.glob("**/*.h"), *directory.glob("**/*.cu")]:
        source.write_text(re.sub(r"#include <thrust/.*>", "", source.read_text(encoding="utf-8")), encoding="utf-8")
    # What runs on the host takes most of its time to read the same headers, so it becomes one source.
    makefile = (directory / "makefile").read_text(encoding="utf-8")
    sources = re.search(r"^SRCS = (.*)$", makefile, re.MULTILINE)[1].split()
    host = [source for source in sources if not source.startswith("code_objects/")]
    (directory / "host.cu").write_text("".join(f'#include "{source}"\n' for source in host), encoding="utf-8")
    kernels = [source for source in sources if source not in host]
    makefile = re.sub(r"^SRCS = .*$", f"SRCS = host.cu {' '.join(kernels)}", makefile, flags=re.MULTILINE)
    makefile = makefile.replace("-std=c++11", "-std=c++17")
    settings = f"""
NVCC = @nvcc -ccbin $(CXX)
NVCCFLAGS += {compiler_flags}
LFLAGS += {linker_flags}
host.o: NVCCFLAGS += -O2
"""
    (directory / "makefile").write_text(f"{makefile}\n{settings}", encoding="utf-8")
