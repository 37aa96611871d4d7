"""The parameters of a starburst amacrine cell (SAC), apart from Brian2: reading a configuration need not load it."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

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
    """Unit, meaning and provenance of a parameter.

    Attributes:
        unit: in which its value is written.
        meaning: in words.
        known: values with their provenance, a key of `PROVENANCE`.
        sign: values that make sense: `positive`, `not negative` or `any`.
    """

    unit: str
    meaning: str
    known: dict[int | float, str]
    sign: str

    def provenance(self, value: float) -> str:
        """Where a value comes from, in words."""
        return PROVENANCE[self.known[value]] if value in self.known else "of this configuration"


def _field(unit: str, meaning: str, known: dict[int | float, str], sign: str = "not negative") -> Any:
    """Declare a field of `SacParameters` with what is known of it; the first known value is its default."""
    return field(default=float(next(iter(known))), metadata={"parameter": Parameter(unit, meaning, known, sign)})


@dataclass
class SacParameters:
    """Parameters of one cell and its synapses, named by the papers' symbols (the papers are named in equations.py).

    The pair (g_C, V_L) = (12 nS, -72 mV) is as excitable as (10 nS, -70 mV); (12, -70) bursts without noise. g_A is the
    control parameter of the waves; above 0.3 nS the lattice stays depolarised. sigma decides: waves or synchrony.

    Raises:
        InputError: a value is not a finite number, or has the wrong sign.
    """

    C_m: float = _field("pF", "membrane capacitance", {22: "T"}, "positive")
    g_L: float = _field("nS", "leak conductance", {2: "T"})
    g_C: float = _field("nS", "calcium conductance", {12: "U", 10: "T"})
    g_K: float = _field("nS", "fast potassium conductance", {10: "T"})
    g_sAHP: float = _field("nS", "slow after-hyperpolarisation conductance", {2: "T"})
    g_A: float = _field("nS", "acetylcholine conductance for each saturated neighbour", {0.1: "U", 0.05: "U", 0.2: "U"})
    V_L: float = _field("mV", "leak potential", {-72: "U", -70: "T"}, "any")
    V_C: float = _field("mV", "calcium potential", {50: "T"}, "any")
    V_K: float = _field("mV", "potassium potential", {-90: "T"}, "any")
    V_A: float = _field("mV", "acetylcholine potential", {0: "U"}, "any")
    V_0: float = _field("mV", "half point of acetylcholine release", {-40: "U"}, "any")
    V_1: float = _field("mV", "half activation of the calcium current", {-20: "T"}, "any")
    V_2: float = _field("mV", "slope of that activation", {20: "T"}, "positive")
    V_3: float = _field("mV", "half activation of the fast potassium current", {-25: "T"}, "any")
    V_4: float = _field("mV", "slope of that activation", {7: "T"}, "positive")
    tau_N: float = _field("ms", "time constant of the fast potassium gate", {5: "T"}, "positive")
    tau_R: float = _field("ms", "time constant of the after-hyperpolarisation gate", {8300: "T"}, "positive")
    tau_S: float = _field("ms", "time constant of calmodulin", {8300: "T"}, "positive")
    tau_C: float = _field("ms", "time constant of calcium", {2000: "T"}, "positive")
    alpha_R: float = _field("1", "calmodulin onto the after-hyperpolarisation", {4.25: "T"})
    alpha_S: float = _field("nM⁻⁴", "calcium onto calmodulin, (200 nM)⁻⁴", {6.25e-10: "T"})
    alpha_C: float = _field("nM", "extrusion of calcium", {4865: "T"})
    H_X: float = _field("nM", "half saturation of the extrusion", {1800: "T"}, "positive")
    C_0: float = _field("nM", "calcium leak", {88: "T"})
    delta_C: float = _field("nM/pA", "calcium for each calcium current", {10.503: "T"})
    beta_A: float = _field("nM/s", "release of acetylcholine", {5: "U"})
    mu_A: float = _field("1/s", "decay of acetylcholine", {1.86: "U"}, "positive")
    gamma_A: float = _field("nM²", "half saturation of the receptor, squared", {1: "U"}, "positive")
    kappa_A: float = _field("1/mV", "slope of the release", {0.2: "U"})
    I_ext: float = _field("pA", "constant external current", {0: "S", -5: "S", 5: "S"}, "any")
    sigma: float = _field("pA·ms^½", "strength of the white noise", {2.5: "S", 2: "S", 3: "S", 5: "T", 4: "U", 6: "U"})

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            sign = PARAMETERS[name].sign
            if not abs(value) < float("inf"):
                raise InputError(f"cell.{name} is {value}: give a finite number")
            if sign == "positive" and value <= 0:
                raise InputError(f"cell.{name} is {value}: it must be greater than 0")
            if sign == "not negative" and value < 0:
                raise InputError(f"cell.{name} is {value}: it must not be negative")


PARAMETERS: dict[str, Parameter] = {each.name: each.metadata["parameter"] for each in fields(SacParameters)}
