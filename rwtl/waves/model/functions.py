"""Functions that the equations call: exponentials without a library call, and counter-based Gaussian noise."""

import numpy as np
from brian2 import Function
from scipy.special import expit

# A call, even into a vector library, saves and restores every vector register. In single precision exp(x) = 2^k exp(f),
# with k the integer nearest to x / ln 2 and |f| at most ln(2) / 2, is fifteen instructions. Adding 1.5 * 2^23 leaves k
# in the lowest bits of a float; adding k to the exponent bits multiplies by 2^k. The polynomial has the smallest
# relative error, 3e-9, of those of degree 6 that begin with 1 + f; its form keeps the chain of dependent operations
# short. Beyond ±80, which a bounded 2^k demands, a logistic function is 0 or 1 to rounding.
_EXPONENTIAL = """
static inline float exponential(float x)
{
    x = x < -80.0f ? -80.0f : x;
    x = x > 80.0f ? 80.0f : x;
    union { float value; int32_t bits; } shifted, power;
    shifted.value = x * 1.44269504f + 12582912.0f;
    const float f = x - (shifted.bits - 0x4B400000) * 0.693147181f;
    const float f2 = f * f;
    power.value = f + 1.0f + f2 * (4.99999934e-1f + 1.66665206e-1f * f
                  + f2 * (4.16683887e-2f + 8.36872396e-3f * f + f2 * 1.3814584e-3f));
    power.bits += (int32_t)((uint32_t)shifted.bits << 23);
    return power.value;
}
static inline double exponential(double x) { return exp(x); }
"""
_LOGISTIC = """
static inline float logistic(float x) { return 1.0f / (1.0f + exponential(-x)); }
static inline double logistic(double x) { return 1.0 / (1.0 + exp(-x)); }
"""
_CYTHON_EXPONENTIAL = {
    "exponential": "cdef inline double exponential(double x):\n    return exp(x)\n",
    "logistic": "cdef inline double logistic(double x):\n    return 1/(1 + exp(-x))\n",
}
_CUDA_EXPONENTIAL = {
    "exponential": """
__host__ __device__ static inline float exponential(float x) { return expf(x); }
__host__ __device__ static inline double exponential(double x) { return exp(x); }
""",
    "logistic": """
__host__ __device__ static inline float logistic(float x) { return 1.0f / (1.0f + expf(-x)); }
__host__ __device__ static inline double logistic(double x) { return 1.0 / (1.0 + exp(-x)); }
""",
}


def exponential(x: np.ndarray) -> np.ndarray:
    """exp(x), element by element."""
    return np.exp(x)


def logistic(x: np.ndarray) -> np.ndarray:
    """1/(1 + exp(-x)), which is (1 + tanh(x/2))/2, element by element."""
    return expit(x)


def exponential_functions() -> dict[str, Function]:
    """Return `exponential` and `logistic` as functions of Brian2's equations, for every target.

    Brian2 takes them as they are: its own `exp` it would rewrite, 1/exp(x) as a second exponential. In single precision
    on the C++ target their relative error is at most 2e-7 for |x| ≤ 20 and 4e-7 for |x| ≤ 80; beyond ±80 they stay at
    their values there.
    """
    functions = {}
    for function in (exponential, logistic):
        name = function.__name__
        functions[name] = Function(function, arg_units=[1], return_unit=1, stateless=True)
        functions[name].implementations.add_implementation("cython", _CYTHON_EXPONENTIAL[name])
        functions[name].implementations.add_implementation("cuda", _CUDA_EXPONENTIAL[name])
    needed = {"exponential": functions["exponential"]}
    functions["exponential"].implementations.add_implementation("cpp", _EXPONENTIAL)
    functions["logistic"].implementations.add_implementation("cpp", _LOGISTIC, dependencies=needed)
    return functions


# The splitmix64 finaliser (Steele et al. 2014) turns (seed, step) into a key; it does not depend on the cell, so the
# compiler computes it once a step. The pcg3d hash (Jarzynski & Olano, "Hash functions for GPU rendering", JCGT 2020)
# turns (cell, key) into two words; it has 32-bit arithmetic only, which vectorises. Box–Muller in single precision in
# every simulation: then a float64 one draws the same numbers as a float32 one. Its logarithm and cosine are polynomials
# of smallest relative error (3e-8 and 5e-9), because calls would cost the loop over cells its vector registers.
_CPP_NOISE = """
#ifdef __CUDACC__
__host__ __device__
#endif
static inline float standard_normal(const int64_t seed, const int32_t cell, const int64_t step)
{
    uint64_t key = (uint64_t)seed + (uint64_t)step * 0x9E3779B97F4A7C15u;
    key = (key ^ (key >> 30)) * 0xBF58476D1CE4E5B9u;
    key = (key ^ (key >> 27)) * 0x94D049BB133111EBu;
    key ^= key >> 31;
    uint32_t x = (uint32_t)cell * 1664525u + 1013904223u;
    uint32_t y = (uint32_t)key * 1664525u + 1013904223u;
    uint32_t z = (uint32_t)(key >> 32) * 1664525u + 1013904223u;
    x += y * z; y += z * x; z += x * y;
    x ^= x >> 16; y ^= y >> 16; z ^= z >> 16;
    x += y * z; y += z * x;
    // The logarithm of the first word as a number u in (0, 1): u = m 2^e, m from sqrt(1/2) to sqrt(2).
    union { float value; int32_t bits; } m;
    m.value = ((int32_t)(x >> 8) + 0.5f) * 5.9604645e-8f;
    const int32_t e = (m.bits - 0x3F3504F3) >> 23;
    m.bits -= (int32_t)((uint32_t)e << 23);
    const float d = m.value - 1.0f;
    float p = 8.73484597e-2f;
    p = p * d - 1.43075243e-1f;
    p = p * d + 1.49179737e-1f;
    p = p * d - 1.65705078e-1f;
    p = p * d + 1.99620721e-1f;
    p = p * d - 2.50017553e-1f;
    p = p * d + 3.33339502e-1f;
    p = p * d - 4.99999916e-1f;
    const float logarithm = e * 0.693147181f + (d + d * d * p);
    // The cosine of 2 pi w, w in [0, 1) from the second word: the sine of 2 pi q, q from -1/4 to 1/4.
    const float q = fabsf((int32_t)(y >> 8) * 5.9604645e-8f - 0.5f) - 0.25f;
    const float qq = q * q;
    float s = 39.71091f;
    s = s * qq - 76.5749912f;
    s = s * qq + 81.6022312f;
    s = s * qq - 41.3416775f;
    s = s * qq + 6.28318527f;
    return sqrtf(-2.0f * logarithm) * (s * q);
}
"""

_CYTHON_NOISE = f'''
cdef extern from *:
    """
    #include <math.h>
    #include <stdint.h>
{_CPP_NOISE}
    """
    float standard_normal(const int64_t seed, const int32_t cell, const int64_t step)
'''


def standard_normal(seed: object, cell: object, step: object) -> np.ndarray:
    """Standard normal numbers, one for every (seed, cell, step).

    Args:
        seed, cell, step: non-negative integers or arrays of them, broadcast against each other; cell below 2³².

    Returns:
        float32 of the broadcast shape; |value| is at most 5.9, the tail that 24-bit uniform numbers reach.
    """
    seed, cell, step = (np.asarray(word).astype(np.uint64) for word in (seed, cell, step))
    key = np.atleast_1d(seed + step * np.uint64(0x9E3779B97F4A7C15))  # arrays wrap around silently, scalars warn
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    key ^= key >> np.uint64(31)
    words = (np.atleast_1d(cell), key, key >> np.uint64(32))
    x, y, z = (word.astype(np.uint32) * np.uint32(1664525) + np.uint32(1013904223) for word in words)
    x, y, z = np.broadcast_arrays(x, y, z)
    x = x + y * z
    y = y + z * x
    z = z + x * y
    x, y, z = (word ^ (word >> np.uint32(16)) for word in (x, y, z))
    x = x + y * z
    y = y + z * x
    radius_draw = ((x >> np.uint32(8)).astype(np.float32) + np.float32(0.5)) * np.float32(5.9604645e-8)
    angle = (y >> np.uint32(8)).astype(np.float32) * np.float32(3.7450702e-7)
    normal = np.sqrt(np.float32(-2) * np.log(radius_draw)) * np.cos(angle)
    return normal.reshape(np.broadcast_shapes(seed.shape, cell.shape, step.shape))


def standard_normal_function() -> Function:
    """Return `standard_normal` as a function of Brian2's equations, for every target."""
    function = Function(standard_normal, arg_units=[1, 1, 1], return_unit=1, arg_types=["integer"] * 3, stateless=True)
    for target, code in (("cpp", _CPP_NOISE), ("cuda", _CPP_NOISE), ("cython", _CYTHON_NOISE)):
        function.implementations.add_implementation(target, code)
    return function
