"""The starburst amacrine cell (SAC): equations, parameters and the state in which a simulation starts.

Single-cell model: Karvouniari et al., "A biophysical model explains the spontaneous bursting behavior in the developing
retina", Sci. Rep. 2019. Network: Cessac & Matzakos-Karvouniari, "The non linear dynamics of retinal waves", Physica D
2022. Acetylcholine: after Lansdell, Ford & Kutz 2014.
"""

from dataclasses import dataclass

from brian2 import Quantity, molar, ms, mV, nS, pA, pF, second

from rwtl.errors import InputError

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

_POSITIVE = {"C_m", "tau_N", "tau_R", "tau_S", "tau_C", "H_X", "mu_A", "gamma_A", "V_2", "V_4"}
_NOT_NEGATIVE = {name for name in PARAMETER_UNITS if not name.startswith("V_")} - _POSITIVE - {"I_ext"}


@dataclass(frozen=True)
class SacParameters:
    """Parameters of one cell and its synapses, named by the papers' symbols.

    Provenance: [T] transcribed from public code of the model, [U] commonly quoted but not checked against a full text,
    [S] chosen by simulation on a 128 × 128 lattice.

    Membrane:
        C_m: capacitance, pF [T]; g_L, g_K, g_sAHP: leak, fast potassium and slow after-hyperpolarisation conductance,
        nS [T]; g_C: calcium conductance, nS, with V_L: leak potential, mV [U] ((10, -70) is the pair [T]; (12, -70)
        bursts without noise); V_C, V_K: calcium and potassium potentials, mV [T]; V_1, V_2, V_3, V_4: half
        activations and slopes of the calcium (1, 2) and fast potassium (3, 4) gates, mV [T]; tau_N, ms [T].
    Calcium and after-hyperpolarisation:
        tau_R, tau_S, tau_C, ms [T]; alpha_R, dimensionless [T]; alpha_S, nM⁻⁴, (200 nM)⁻⁴ [T]; alpha_C, H_X, C_0,
        nM [T]; delta_C, nM/pA [T].
    Acetylcholine:
        g_A: conductance per saturated neighbour, nS, the control parameter of the waves (0.05–0.2 [U], above 0.3 the
        lattice stays depolarised [S]); V_A: reversal potential, mV [U]; beta_A: release, nM/s [U]; mu_A: decay, 1/s
        [U]; gamma_A: half saturation squared, nM² [U]; kappa_A, 1/mV, and V_0, mV: slope and half point of release [U].
    Drive:
        I_ext: constant current, pA, 0 by choice; sigma: strength of the white noise, pA·ms^½, 2.5 [S] (5 [T] makes the
        whole lattice fire at once, below 2 nothing starts).

    Raises:
        InputError: a value is not a finite number, or has the wrong sign.
    """

    C_m: float = 22.0
    g_L: float = 2.0
    g_C: float = 12.0
    g_K: float = 10.0
    g_sAHP: float = 2.0
    g_A: float = 0.1
    V_L: float = -72.0
    V_C: float = 50.0
    V_K: float = -90.0
    V_A: float = 0.0
    V_0: float = -40.0
    V_1: float = -20.0
    V_2: float = 20.0
    V_3: float = -25.0
    V_4: float = 7.0
    tau_N: float = 5.0
    tau_R: float = 8300.0
    tau_S: float = 8300.0
    tau_C: float = 2000.0
    alpha_R: float = 4.25
    alpha_S: float = 6.25e-10
    alpha_C: float = 4865.0
    H_X: float = 1800.0
    C_0: float = 88.0
    delta_C: float = 10.503
    beta_A: float = 5.0
    mu_A: float = 1.86
    gamma_A: float = 1.0
    kappa_A: float = 0.2
    I_ext: float = 0.0
    sigma: float = 2.5

    def __post_init__(self) -> None:
        for name in PARAMETER_UNITS:
            value = getattr(self, name)
            if not abs(value) < float("inf"):
                raise InputError(f"cell.{name} is {value}: give a finite number")
            if name in _POSITIVE and value <= 0:
                raise InputError(f"cell.{name} is {value}: it must be greater than 0")
            if name in _NOT_NEGATIVE and value < 0:
                raise InputError(f"cell.{name} is {value}: it must not be negative")

    def quantities(self) -> dict[str, Quantity | float]:
        """Every parameter with its unit, as Brian2 quantities."""
        return {name: getattr(self, name) * unit for name, (unit, _) in PARAMETER_UNITS.items()}


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
