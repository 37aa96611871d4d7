// The limit of benchmarks/simulation.py: the lattice of rwtl.waves written by hand for one set of parameters, in single
// precision, with the midpoint rule, the same noise, and the neighbours' sum refreshed at the same interval.
//
// The file that includes this one has the function standard_normal of rwtl.waves.noise and, as constants in Brian2's base
// units, the parameters by their names in rwtl.waves.parameters, and
//   rows, columns, threads, time_step (s), seed, steps_per_coupling and with_noise.

// exp(x) for |x| < 80: 2^k exp(f), k the integer nearest to x / ln 2.
static inline float exponential_of(float x)
{
    union { float value; int32_t bits; } shifted, power;
    shifted.value = x * 1.44269504f + 12582912.0f;
    const float f = x - (shifted.bits - 0x4B400000) * 0.693147181f;
    const float ff = f * f;
    power.value = ((1.3814584e-3f * ff + (8.36872396e-3f * f + 4.16683887e-2f)) * ff
                   + (1.66665206e-1f * f + 4.99999934e-1f)) * ff + (f + 1.0f);
    power.bits += (int32_t)((uint32_t)shifted.bits << 23);
    return power.value;
}

struct Rates { float v, n, r, s, c, a; };

static inline Rates rates(float v, float n, float r, float s, float c, float a, float input, float noise)
{
    const float m = 1.0f / (1.0f + exponential_of(-2.0f / V_2 * (v - V_1)));
    const float w = exponential_of(0.5f / V_4 * (v - V_3));
    const float w4 = (w * w) * (w * w);
    const float release = 1.0f / (1.0f + exponential_of(-kappa_A * (v - V_0)));
    const float calcium_current = g_C * m * (v - V_C);
    const float potassium = g_K * n + g_sAHP * (r * r) * (r * r);
    const float current = I_ext + noise - g_L * (v - V_L) - calcium_current - potassium * (v - V_K) - g_A * input * (v - V_A);
    return {
        current * (1.0f / C_m),
        0.5f / tau_N * (w + 1.0f / w) * (w4 / (1.0f + w4) - n),
        1.0f / tau_R * (alpha_R * s * (1.0f - r) - r),
        1.0f / tau_S * (alpha_S * (c * c) * (c * c) * (1.0f - s) - s),
        1.0f / tau_C * (C_0 - alpha_C / H_X * c - delta_C * calcium_current),
        beta_A * release - mu_A * a,
    };
}

// Integrates `steps` steps. Every array has one value for each cell, row by row, in base units.
extern "C" void simulate(int64_t steps, float* v, float* n, float* r, float* s, float* c, float* a)
{
    const int cells = rows * columns, width = columns + 2;
    const float h = time_step;
    std::vector<float> released((rows + 2) * width), summed(cells);
    float* input = summed.data();
    for (int64_t step = 0; step < steps; step++)
    {
        if (step % steps_per_coupling == 0)
        {
            #pragma omp parallel for num_threads(threads)
            for (int row = 0; row < rows; row++)
                for (int column = 0; column < columns; column++)
                {
                    const float a2 = a[row * columns + column] * a[row * columns + column];
                    released[(row + 1) * width + column + 1] = a2 / (gamma_A + a2);
                }
            #pragma omp parallel for num_threads(threads)
            for (int row = 0; row < rows; row++)
                for (int column = 0; column < columns; column++)
                {
                    const float* centre = &released[(row + 1) * width + column + 1];
                    input[row * columns + column] = centre[-width] + centre[width] + centre[-1] + centre[1];
                }
        }
        #pragma omp parallel for simd num_threads(threads)
        for (int i = 0; i < cells; i++)
        {
            const float noise = with_noise ? sigma / sqrtf(h) * standard_normal(seed, i, step) : 0.0f;
            const Rates k = rates(v[i], n[i], r[i], s[i], c[i], a[i], input[i], noise);
            const Rates m = rates(v[i] + 0.5f * h * k.v, n[i] + 0.5f * h * k.n, r[i] + 0.5f * h * k.r,
                                  s[i] + 0.5f * h * k.s, c[i] + 0.5f * h * k.c, a[i] + 0.5f * h * k.a, input[i], noise);
            v[i] += h * m.v; n[i] += h * m.n; r[i] += h * m.r; s[i] += h * m.s; c[i] += h * m.c; a[i] += h * m.a;
        }
    }
}
