"""The CUDA program: that it compiles, what its kernels do, and what is said where something is missing.

No test here runs a kernel.
"""

import re
import shutil
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec

import numpy as np
import pytest

from rwtl.errors import InputError
from rwtl.waves import RecordingConfig, SacParameters, simulate
from rwtl.waves.engines import engine_of
from rwtl.waves.engines.cuda import CudaEngine, _compute_capability, _curand
from rwtl.waves.engines.standalone import run_program
from rwtl.waves.model.functions import standard_normal, standard_normal_function
from rwtl.waves.model.state import VARIABLES
from rwtl.waves.simulation import first_snapshot

CONFIG = RecordingConfig(
    rows=8,
    columns=12,
    spacing=50.0,
    duration=2.0,
    transient=0.0,
    time_step=2e-4,
    frame_interval=0.1,
    seed=3,
    cell=SacParameters(),
)
UPDATE, RELEASE, GATHER = (f"cells_{name}_codeobject" for name in ("stateupdater", "run_regularly", "run_regularly_1"))
needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not on the path")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The directory of a compiled program in single precision."""
    if shutil.which("nvcc") is None or find_spec("brian2cuda") is None:
        pytest.skip("needs nvcc on the path and brian2cuda")
    try:
        _curand(tmp_path_factory.mktemp("curand"))
    except InputError as error:
        pytest.skip(str(error))
    directory = tmp_path_factory.mktemp("program")
    CudaEngine("float32", 9.0).build(CONFIG, first_snapshot(CONFIG), directory)
    return directory


@pytest.fixture(scope="module")
def kernels(program):
    """For each of the three kernels, the assembler text that its compile command gives."""
    texts = {}
    for name in (UPDATE, RELEASE, GATHER):
        command = subprocess.check_output(
            ["make", "--no-print-directory", "-nB", f"code_objects/{name}.o"], cwd=program, text=True
        )
        command = command.replace(" -dc ", " -ptx ").replace(f"{name}.o", f"{name}.ptx")
        subprocess.run(command, shell=True, check=True, cwd=program)
        texts[name] = (program / "code_objects" / f"{name}.ptx").read_text()
        assert f"_run_kernel_{name}" in texts[name]
    return texts


def instructions(text):
    """Names of the instructions in an assembler text."""
    return re.findall(r"^\s+(?:@!?%p\d+ )?([a-z]\S*?)\s", text, re.MULTILINE)


@pytest.mark.slow
def test_a_step_is_one_kernel_and_the_coupling_two_more_on_their_own_clock(program):
    main = (program / "main.cu").read_text()
    added = re.findall(r"network\.add\(&(\w+), (\w+)\);", main)
    clocks, called = zip(*[entry for entry in added if entry[1] != "_run_random_number_buffer"], strict=True)
    assert called == (f"_run_{RELEASE}", f"_run_{GATHER}", f"_run_{UPDATE}", "write_frame")
    assert clocks[2] == clocks[3] and clocks[2].startswith("cells_clock")  # Brian2 numbers names that it gave before
    assert all(clock.startswith("cells_run_regularly") for clock in clocks[:2])
    for name in (RELEASE, GATHER, UPDATE):
        source = (program / "code_objects" / f"{name}.cu").read_text()
        assert source.count("<<<") == 1
        assert "Synchronize" not in source  # the host does not wait for a step


def test_the_neighbour_sum_reads_and_adds_without_atomic_operations(kernels):
    names = instructions(kernels[GATHER])
    assert not [name for name in names if name.startswith(("atom", "red."))]
    assert sum(name.startswith("ld.global.f32") for name in names) == 8  # four releases, four weights
    assert names.count("st.global.f32") == 1


def test_noise_is_the_hash_inlined_once_and_nothing_of_curand(kernels, program):
    text = kernels[UPDATE]
    assert text.count(str(0x9E3779B97F4A7C15 - 2**64)) == 1  # the method asks for the noise twice
    assert not [name for name in instructions(text) if name.startswith("call")]
    kernel = (program / "code_objects" / f"{UPDATE}.cu").read_text().split("__global__")[1]
    assert "standard_normal(seed, i, " in kernel
    assert "rand" not in kernel


@pytest.mark.parametrize("kernel", [UPDATE, RELEASE, GATHER])
def test_single_precision_has_no_double_arithmetic(kernels, kernel):
    doubles = {name for name in instructions(kernels[kernel]) if ".f64" in name}
    assert doubles <= {".reg", ".param", "ld.param.f64", "cvt.rn.ftz.f32.f64"}  # dt comes as a double


def test_functions_are_accurate(kernels):
    assert not [name for name in instructions(kernels[UPDATE]) if name.startswith(("tanh.approx", "cos.approx"))]


def test_frames_are_copied_from_the_gpu_before_they_are_written(program):
    dump = re.search(
        r"static void write_frame\(\)\n\{.*?^\}", (program / "main.cu").read_text(), re.DOTALL | re.MULTILINE
    )
    calls = re.findall(r"cudaMemcpy\((\w+), (\w+), (.*?), (\w+)\)|write_array\((\w+), (.*?)\);", dump[0])
    assert len(calls) == 2 * len(VARIABLES)
    for copy, write in zip(calls[::2], calls[1::2], strict=True):
        host, gpu, size, direction = copy[:4]
        assert (gpu, direction) == (f"dev{host}", "cudaMemcpyDeviceToHost")
        assert write[4:] == (host, size)
    assert [write[4] for write in calls[1::2]] == [f"_array_cells_{name}" for name in ("c", "v", "n", "r", "s", "a")]


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="for a machine without a GPU")
def test_a_program_without_a_gpu_says_so(program):
    with pytest.raises(InputError, match=r"stopped after 0 of 2 s with exit code 255: .*cudaSetDevice"):
        next(run_program(CONFIG, first_snapshot(CONFIG), program, np.dtype("float32"), {}))


@needs_nvcc
def test_the_noise_that_nvcc_compiles_is_that_of_numpy(tmp_path):
    """On the host; the mathematical functions of the GPU differ from its by rounding."""
    code = standard_normal_function().implementations["cuda"].get_code(None)
    (tmp_path / "noise.cu").write_text(
        f"""#include <cstdint>
        #include <cstdio>
        {code}
        int main()
        {{
            for (int64_t step = 0; step < 50; ++step)
                for (int32_t cell = 0; cell < 2000; ++cell)
                {{
                    const float value = standard_normal(7000000000000LL, cell, step + 9000000000LL);
                    fwrite(&value, sizeof value, 1, stdout);
                }}
        }}"""
    )
    subprocess.run(["nvcc", "-o", "noise", "noise.cu"], cwd=tmp_path, check=True)
    compiled = np.frombuffer(subprocess.check_output([tmp_path / "noise"]), np.float32).reshape(50, 2000)
    expected = standard_normal(7000000000000, np.arange(2000)[None, :], 9000000000 + np.arange(50)[:, None])
    np.testing.assert_allclose(compiled, expected, atol=3e-6)


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Programs on an otherwise empty path: call it with a name and a shell script."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def add(name, script="exit 0"):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)

    return add


def test_a_missing_driver_is_named(tools, tmp_path):
    engine = engine_of({"name": "cuda", "precision": "float32", "compute_capability": None})
    with pytest.raises(InputError, match=r"no GPU found \(nvidia-smi.*is not installed\).*engine=cpp"):
        simulate(CONFIG, engine, tmp_path / "recording")


def test_a_missing_gpu_is_named(tools):
    tools("nvidia-smi", "echo No devices were found; exit 6")
    with pytest.raises(InputError, match=r"no GPU found \(nvidia-smi .* says 'No devices were found'\)"):
        _compute_capability()


def test_the_first_visible_gpu_counts(tools, monkeypatch):
    tools("nvidia-smi", "case $* in *--id=2) echo 12.0;; *--id=*) exit 6;; *) echo 9.0; echo 12.0;; esac")
    assert _compute_capability() == 9.0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0")
    assert _compute_capability() == 12.0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(InputError, match="no GPU found"):
        _compute_capability()


def test_missing_tools_are_named(tools, tmp_path, monkeypatch):
    def build():
        CudaEngine("float32", 9.0).build(CONFIG, first_snapshot(CONFIG), tmp_path)

    for tool, message in (("nvcc", "CUDA toolkit"), ("g++", r"C\+\+ compiler"), ("make", "build-essential")):
        with pytest.raises(InputError, match=rf"{re.escape(tool)} not found: install .*{message}"):
            build()
        tools(tool)
    monkeypatch.setitem(sys.modules, "brian2cuda", None)
    with pytest.raises(InputError, match=r"brian2cuda is not installed: pip install 'rwtl\[cuda\]'"):
        build()


@pytest.mark.parametrize(
    ("release", "package", "remedy"),
    [("13.0", "nvidia-curand", r"'rwtl\[cuda\]'"), ("12.4", "nvidia-curand-cu12", "nvidia-curand-cu12")],
)
def test_a_missing_curand_is_named(tools, tmp_path, monkeypatch, release, package, remedy):
    def none_installed(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", none_installed)
    tools("nvcc", f'[ "$1" = --version ] && echo "Cuda compilation tools, release {release}, V1" && exit 0; exit 1')
    with pytest.raises(InputError, match=rf"cuRAND is neither.*installed as {package}: pip install {remedy}"):
        _curand(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("float16", None), r"engine\.precision is 'float16'"),
        (("float32", 3.5), r"engine\.compute_capability is 3\.5.*at least 5\.0"),
        (("float32", float("nan")), r"engine\.compute_capability is nan"),
    ],
)
def test_impossible_values_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        CudaEngine(*arguments)
