"""The starburst amacrine cell (SAC): equations, parameters and the state in which a simulation starts.

Single-cell model: Karvouniari et al., "A biophysical model explains the spontaneous bursting behavior in the developing
retina", Sci. Rep. 2019. Network: Cessac & Matzakos-Karvouniari, "The non linear dynamics of retinal waves", Physica D
2022. Acetylcholine: after Lansdell, Ford & Kutz 2014.
"""

from dataclasses import dataclass

from brian2 import Quantity, molar, ms, mV, nS, pA, pF, second

from rwtl.waves.parameters import SacParameters

nM = 1e-9 * molar

# State variables are in lower case, which every Brian2 device can set from outside a compiled program: v, n, r, s, c, a
# are the papers' V, N, R, S, C, A. `acetylcholine_input` is Σ A²/(γ_A + A²) over the neighbours of a cell.
SAC_EQUATIONS = """
dv/dt = (I_ext + I_noise - I_L - I_Ca - I_K - I_sAHP - I_A)/C_m : volt   # membrane potential
dn/dt = Lambda*(n_inf - n)/tau_N                                : 1      # gate of the fast potassium current
dr/dt = (alpha_R*s*(1 - r) - r)/tau_R                           : 1      # gate of the slow after-hyperpolarisation
ds/dt = (alpha_S*c**4*(1 - s) - s)/tau_S                        : 1      # fraction of saturated calmodulin
dc/dt = (C_0 - alpha_C/H_X*c - delta_C*I_Ca)/tau_C              : mmolar # intracellular calcium
da/dt = (beta_A/mu_A/(1 + exp(-kappa_A*(v - V_0))) - a)*mu_A    : mmolar # released acetylcholine

I_L     = g_L*(v - V_L)                                         : amp
I_Ca    = g_C*M*(v - V_C)                                       : amp
I_K     = g_K*n*(v - V_K)                                       : amp
I_sAHP  = g_sAHP*r**4*(v - V_K)                                 : amp
I_A     = g_A*acetylcholine_input*(v - V_A)                     : amp
I_noise = sigma*standard_normal(seed, i, t_in_timesteps)/sqrt(dt) : amp

M       = (1 + tanh((v - V_1)/V_2))/2                           : 1
n_inf   = (1 + tanh((v - V_3)/V_4))/2                           : 1
Lambda  = cosh((v - V_3)/(2*V_4))                               : 1

acetylcholine_input : 1
"""

# The unit in which a parameter's value is written, and its dimension in the equations.
PARAMETER_UNITS: dict[str, tuple[Quantity | float, str]] = {
    "C_m": (pF, "farad"),
    "g_L": (nS, "siemens"),
    "g_C": (nS, "siemens"),
    "g_K": (nS, "siemens"),
    "g_sAHP": (nS, "siemens"),
    "g_A": (nS, "siemens"),
    "V_L": (mV, "volt"),
    "V_C": (mV, "volt"),
    "V_K": (mV, "volt"),
    "V_A": (mV, "volt"),
    "V_0": (mV, "volt"),
    "V_1": (mV, "volt"),
    "V_2": (mV, "volt"),
    "V_3": (mV, "volt"),
    "V_4": (mV, "volt"),
    "tau_N": (ms, "second"),
    "tau_R": (ms, "second"),
    "tau_S": (ms, "second"),
    "tau_C": (ms, "second"),
    "alpha_R": (1.0, "1"),
    "alpha_S": (nM**-4, "mmolar**-4"),
    "alpha_C": (nM, "mmolar"),
    "H_X": (nM, "mmolar"),
    "C_0": (nM, "mmolar"),
    "delta_C": (nM / pA, "mmolar/amp"),
    "beta_A": (nM / second, "mmolar/second"),
    "mu_A": (1 / second, "1/second"),
    "gamma_A": (nM**2, "mmolar**2"),
    "kappa_A": (1 / mV, "1/volt"),
    "I_ext": (pA, "amp"),
    "sigma": (pA * ms**0.5, "amp*second**0.5"),
}


def parameter_quantities(parameters: SacParameters) -> dict[str, Quantity | float]:
    """Every parameter with its unit, as Brian2 quantities."""
    return {name: getattr(parameters, name) * unit for name, (unit, _) in PARAMETER_UNITS.items()}


def parameter_declarations() -> str:
    """The lines that declare the parameters as variables of a Brian2 group, to be put below `SAC_EQUATIONS`.

    Variables, not literals of the generated program: they have the group's precision, whereas a literal is a double
    and would draw the arithmetic of a single-precision simulation up to double, at half the speed.
    """
    return "".join(f"{name} : {dimension} (shared, constant)\n" for name, (_, dimension) in PARAMETER_UNITS.items())


@dataclass(frozen=True)
class SacState:
    """State of a cell: v in mV; gates n, r, s in [0, 1]; calcium c and acetylcholine a in nM."""

    v: float
    n: float
    r: float
    s: float
    c: float
    a: float

    def quantities(self) -> dict[str, Quantity | float]:
        """Every state variable with its unit, as Brian2 quantities."""
        return {"v": self.v * mV, "n": self.n, "r": self.r, "s": self.s, "c": self.c * nM, "a": self.a * nM}


# Fixed point of an isolated cell with the default parameters and no noise, solved for by root finding. Cells with other
# parameters start here too and relax during the transient.
RESTING_STATE = SacState(v=-62.9496, n=1.9546e-5, r=0.22094, s=0.066729, c=103.4205, a=0.027021)
