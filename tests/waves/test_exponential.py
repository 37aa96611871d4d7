"""The functions that rest on exp, compiled as the simulation compiles them."""

import ctypes
import subprocess

import numpy as np
import pytest
from scipy.special import expit

from rwtl.waves.engines.cpp import _LOOP_FLAGS, _SINGLE_PRECISION_FLAGS
from rwtl.waves.model.functions import exponential_functions, standard_normal, standard_normal_function

_LOOPS = """
extern "C" void loop_exponential(int n, const float* x, float* y)
{ for (int i = 0; i < n; i++) y[i] = exponential(x[i]); }
extern "C" void loop_logistic(int n, const float* x, float* y) { for (int i = 0; i < n; i++) y[i] = logistic(x[i]); }
extern "C" void loop_normal(int n, float* y) { for (int i = 0; i < n; i++) y[i] = standard_normal(7, i, 11); }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("functions")
    functions = [*exponential_functions().values(), standard_normal_function()]
    code = [function.implementations["cpp"].get_code(None) for function in functions]
    (folder / "functions.cpp").write_text("\n".join(["#include <cmath>", "#include <cstdint>", *code, _LOOPS]))
    flags = f"{_LOOP_FLAGS} {_SINGLE_PRECISION_FLAGS} -std=c++17 -shared -fPIC".split()
    subprocess.run(["g++", *flags, "functions.cpp", "-o", "functions.so"], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "functions.so"))


def values(loop, x: np.ndarray) -> np.ndarray:
    y = np.empty(x.size, np.float32)
    loop(x.size, x.ctypes.data_as(ctypes.c_void_p), y.ctypes.data_as(ctypes.c_void_p))
    return y


@pytest.mark.parametrize(("largest", "error"), [(20.0, 2e-7), (80.0, 4e-7)])
def test_the_exponential_is_exact_to_rounding(library, largest, error):
    x = np.linspace(-largest, largest, 1_000_003, dtype=np.float32)
    np.testing.assert_allclose(values(library.loop_exponential, x), np.exp(x.astype(float)), rtol=error)


def test_the_logistic_function_is_exact_and_ends_at_0_and_1(library):
    x = np.linspace(-20, 20, 1_000_003, dtype=np.float32)
    np.testing.assert_allclose(values(library.loop_logistic, x), expit(x.astype(float)), rtol=2e-7)
    far = np.array([-1e30, -300, -90, 90, 300, 1e30], np.float32)
    np.testing.assert_allclose(values(library.loop_logistic, far), [0, 0, 0, 1, 1, 1], atol=1e-30)


def test_compiled_noise_is_that_of_numpy(library):
    y = np.empty(1_000_003, np.float32)
    library.loop_normal(y.size, y.ctypes.data_as(ctypes.c_void_p))
    np.testing.assert_allclose(y, standard_normal(7, np.arange(y.size), 11), atol=3e-6)
