"""The parameters of a starburst amacrine cell (SAC), apart from Brian2: reading a configuration need not load it."""

from dataclasses import asdict, dataclass

from rwtl.errors import InputError

# Raised when the same configuration gives other calcium than before: equations, coupling, noise or start have changed.
MODEL_VERSION = 2

PROVENANCE = {
    "T": "transcribed from public code of the model",
    "U": "commonly quoted, not checked against a full text",
    "S": "chosen by simulation",
}


@dataclass(frozen=True)
class Parameter:
    """What is known of a parameter.

    Attributes:
        unit: in which its value is written.
        meaning: in words.
        known: values with their provenance, a key of `PROVENANCE`.
        sign: values that make sense: `positive`, `not negative` or `any`.
    """

    unit: str
    meaning: str
    known: dict[int | float, str]
    sign: str = "not negative"

    def provenance(self, value: float) -> str:
        """Where a value comes from, in words."""
        return PROVENANCE[self.known[value]] if value in self.known else "of this configuration"


# Named by the papers' symbols; the papers are named in sac.py.
PARAMETERS = {
    "C_m": Parameter("pF", "membrane capacitance", {22: "T"}, "positive"),
    "g_L": Parameter("nS", "leak conductance", {2: "T"}),
    "g_C": Parameter("nS", "calcium conductance", {12: "U", 10: "T"}),
    "g_K": Parameter("nS", "fast potassium conductance", {10: "T"}),
    "g_sAHP": Parameter("nS", "slow after-hyperpolarisation conductance", {2: "T"}),
    "g_A": Parameter("nS", "acetylcholine conductance for each saturated neighbour", {0.1: "U", 0.05: "U", 0.2: "U"}),
    "V_L": Parameter("mV", "leak potential", {-72: "U", -70: "T"}, "any"),
    "V_C": Parameter("mV", "calcium potential", {50: "T"}, "any"),
    "V_K": Parameter("mV", "potassium potential", {-90: "T"}, "any"),
    "V_A": Parameter("mV", "acetylcholine potential", {0: "U"}, "any"),
    "V_0": Parameter("mV", "half point of acetylcholine release", {-40: "U"}, "any"),
    "V_1": Parameter("mV", "half activation of the calcium current", {-20: "T"}, "any"),
    "V_2": Parameter("mV", "slope of that activation", {20: "T"}, "positive"),
    "V_3": Parameter("mV", "half activation of the fast potassium current", {-25: "T"}, "any"),
    "V_4": Parameter("mV", "slope of that activation", {7: "T"}, "positive"),
    "tau_N": Parameter("ms", "time constant of the fast potassium gate", {5: "T"}, "positive"),
    "tau_R": Parameter("ms", "time constant of the after-hyperpolarisation gate", {8300: "T"}, "positive"),
    "tau_S": Parameter("ms", "time constant of calmodulin", {8300: "T"}, "positive"),
    "tau_C": Parameter("ms", "time constant of calcium", {2000: "T"}, "positive"),
    "alpha_R": Parameter("1", "calmodulin onto the after-hyperpolarisation", {4.25: "T"}),
    "alpha_S": Parameter("nM⁻⁴", "calcium onto calmodulin, (200 nM)⁻⁴", {6.25e-10: "T"}),
    "alpha_C": Parameter("nM", "extrusion of calcium", {4865: "T"}),
    "H_X": Parameter("nM", "half saturation of the extrusion", {1800: "T"}, "positive"),
    "C_0": Parameter("nM", "calcium leak", {88: "T"}),
    "delta_C": Parameter("nM/pA", "calcium for each calcium current", {10.503: "T"}),
    "beta_A": Parameter("nM/s", "release of acetylcholine", {5: "U"}),
    "mu_A": Parameter("1/s", "decay of acetylcholine", {1.86: "U"}, "positive"),
    "gamma_A": Parameter("nM²", "half saturation of the receptor, squared", {1: "U"}, "positive"),
    "kappa_A": Parameter("1/mV", "slope of the release", {0.2: "U"}),
    "I_ext": Parameter("pA", "constant external current", {0: "S", -5: "S", 5: "S"}, "any"),
    "sigma": Parameter("pA·ms^½", "strength of the white noise", {2.5: "S", 2: "S", 3: "S", 5: "T", 4: "U", 6: "U"}),
}


@dataclass
class SacParameters:
    """Parameters of one cell and its synapses; `PARAMETERS` tells the unit, the meaning and the provenance of each.

    The pair (g_C, V_L) = (12 nS, -72 mV) is as excitable as (10 nS, -70 mV); (12, -70) bursts without noise. g_A is the
    control parameter of the waves; above 0.3 nS the lattice stays depolarised. sigma decides: waves or synchrony.

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
        for name, value in asdict(self).items():
            sign = PARAMETERS[name].sign
            if not abs(value) < float("inf"):
                raise InputError(f"cell.{name} is {value}: give a finite number")
            if sign == "positive" and value <= 0:
                raise InputError(f"cell.{name} is {value}: it must be greater than 0")
            if sign == "not negative" and value < 0:
                raise InputError(f"cell.{name} is {value}: it must not be negative")
