"""The starburst amacrine cell (SAC): its equations, and its parameters with Brian2's units.

Single-cell model: Karvouniari et al., "A biophysical model explains the spontaneous bursting behavior in the developing
retina", Sci. Rep. 2019. Network: Cessac & Matzakos-Karvouniari, "The non linear dynamics of retinal waves", Physica D
2022. Acetylcholine: after Lansdell, Ford & Kutz 2014.
"""

from collections.abc import Mapping

import numpy as np
from brian2 import Quantity, molar, ms, mV, nS, pA, pF, second

from rwtl.waves.model.parameters import PARAMETERS, SacParameters

nM = 1e-9 * molar

# State variables are in lower case, which every Brian2 device can set from outside a compiled program: v, n, r, s, c, a
# are the papers' V, N, R, S, C, A. `acetylcholine_input` is Σ A²/(γ_A + A²) over the neighbours of a cell.
# `logistic` and `exponential` are those of rwtl.waves.model.functions; the papers write tanh and cosh.
SAC_EQUATIONS = """
dv/dt = (I_ext + I_noise - I_L - I_Ca - I_K - I_sAHP - I_A)/C_m : volt   # membrane potential
dn/dt = Lambda*(n_inf - n)/tau_N                                : 1      # gate of the fast potassium current
dr/dt = (alpha_R*s*(1 - r) - r)/tau_R                           : 1      # gate of the slow after-hyperpolarisation
ds/dt = (alpha_S*c**4*(1 - s) - s)/tau_S                        : 1      # fraction of saturated calmodulin
dc/dt = (C_0 - alpha_C/H_X*c - delta_C*I_Ca)/tau_C              : mmolar # intracellular calcium
da/dt = (beta_A/mu_A*logistic(kappa_A*(v - V_0)) - a)*mu_A      : mmolar # released acetylcholine

I_L     = g_L*(v - V_L)                                         : amp
I_Ca    = g_C*M*(v - V_C)                                       : amp
I_K     = g_K*n*(v - V_K)                                       : amp
I_sAHP  = g_sAHP*r**4*(v - V_K)                                 : amp
I_A     = g_A*acetylcholine_input*(v - V_A)                     : amp
I_noise = sigma*standard_normal(seed, i, t_in_timesteps + first_step)/sqrt(dt) : amp

M       = logistic(2*(v - V_1)/V_2)                             : 1      # (1 + tanh((v - V_1)/V_2))/2
n_inf   = w**4/(1 + w**4)                                       : 1      # (1 + tanh((v - V_3)/V_4))/2
Lambda  = (w + 1/w)/2                                           : 1      # cosh((v - V_3)/(2*V_4))
w       = exponential((v - V_3)/(2*V_4))                        : 1

acetylcholine_input : 1
"""

# The units in which parameters are written, and their dimensions in the equations.
UNITS: dict[str, tuple[Quantity | float, str]] = {
    "pF": (pF, "farad"),
    "nS": (nS, "siemens"),
    "mV": (mV, "volt"),
    "ms": (ms, "second"),
    "1": (1.0, "1"),
    "nM⁻⁴": (nM**-4, "mmolar**-4"),
    "nM": (nM, "mmolar"),
    "nM/pA": (nM / pA, "mmolar/amp"),
    "nM/s": (nM / second, "mmolar/second"),
    "1/s": (1 / second, "1/second"),
    "nM²": (nM**2, "mmolar**2"),
    "1/mV": (1 / mV, "1/volt"),
    "pA": (pA, "amp"),
    "pA·ms^½": (pA * ms**0.5, "amp*second**0.5"),
}


def parameter_quantities(parameters: SacParameters, own: Mapping[str, np.ndarray]) -> dict[str, Quantity | float]:
    """Every parameter with its unit, as Brian2 quantities; for those in `own` its values, one for each cell."""
    values = {name: own.get(name, getattr(parameters, name)) for name in PARAMETERS}
    return {name: value * UNITS[PARAMETERS[name].unit][0] for name, value in values.items()}


def parameter_declarations(own: Mapping[str, np.ndarray]) -> str:
    """The lines that declare the parameters as variables of a Brian2 group, to be put below `SAC_EQUATIONS`; those in
    `own` have one value for each cell.

    Variables, not literals of the generated program: they have the group's precision, whereas a literal is a double
    and would draw the arithmetic of a single-precision simulation up to double, at half the speed.
    """
    return "".join(
        f"{name} : {UNITS[parameter.unit][1]} ({'' if name in own else 'shared, '}constant)\n"
        for name, parameter in PARAMETERS.items()
    )
