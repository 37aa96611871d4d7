"""The parameters of a starburst amacrine cell (SAC), apart from Brian2: reading a configuration need not load it."""

from dataclasses import dataclass, field, fields
from typing import Any

from rwtl.sections import NotNegative, Positive, Real, section

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
    """

    unit: str
    meaning: str
    known: dict[int | float, str]

    def provenance(self, value: float) -> str:
        """Where a value comes from, in words."""
        return PROVENANCE[self.known[value]] if value in self.known else "of this configuration"


def _field(unit: str, meaning: str, known: dict[int | float, str]) -> Any:
    """Declare a field of `SacParameters` with what is known of it; the first known value is its default."""
    return field(default=float(next(iter(known))), metadata={"parameter": Parameter(unit, meaning, known)})


@section("cell")
class SacParameters:
    """Parameters of one cell and its synapses, named by the papers' symbols (the papers are named in equations.py).

    The pair (g_C, V_L) = (12 nS, -72 mV) is as excitable as (10 nS, -70 mV); (12, -70) bursts without noise. g_A is the
    control parameter of the waves; above 0.3 nS the lattice stays depolarised. sigma decides: waves or synchrony.

    Raises:
        InputError: a value is not a finite number, or has the wrong sign.
    """

    C_m: Positive = _field("pF", "membrane capacitance", {22: "T"})
    g_L: NotNegative = _field("nS", "leak conductance", {2: "T"})
    g_C: NotNegative = _field("nS", "calcium conductance", {12: "U", 10: "T"})
    g_K: NotNegative = _field("nS", "fast potassium conductance", {10: "T"})
    g_sAHP: NotNegative = _field("nS", "slow after-hyperpolarisation conductance", {2: "T"})
    g_A: NotNegative = _field(
        "nS", "acetylcholine conductance for each saturated neighbour", {0.1: "U", 0.05: "U", 0.2: "U"}
    )
    V_L: Real = _field("mV", "leak potential", {-72: "U", -70: "T"})
    V_C: Real = _field("mV", "calcium potential", {50: "T"})
    V_K: Real = _field("mV", "potassium potential", {-90: "T"})
    V_A: Real = _field("mV", "acetylcholine potential", {0: "U"})
    V_0: Real = _field("mV", "half point of acetylcholine release", {-40: "U"})
    V_1: Real = _field("mV", "half activation of the calcium current", {-20: "T"})
    V_2: Positive = _field("mV", "slope of that activation", {20: "T"})
    V_3: Real = _field("mV", "half activation of the fast potassium current", {-25: "T"})
    V_4: Positive = _field("mV", "slope of that activation", {7: "T"})
    tau_N: Positive = _field("ms", "time constant of the fast potassium gate", {5: "T"})
    tau_R: Positive = _field("ms", "time constant of the after-hyperpolarisation gate", {8300: "T"})
    tau_S: Positive = _field("ms", "time constant of calmodulin", {8300: "T"})
    tau_C: Positive = _field("ms", "time constant of calcium", {2000: "T"})
    alpha_R: NotNegative = _field("1", "calmodulin onto the after-hyperpolarisation", {4.25: "T"})
    alpha_S: NotNegative = _field("nM⁻⁴", "calcium onto calmodulin, (200 nM)⁻⁴", {6.25e-10: "T"})
    alpha_C: NotNegative = _field("nM", "extrusion of calcium", {4865: "T"})
    H_X: Positive = _field("nM", "half saturation of the extrusion", {1800: "T"})
    C_0: NotNegative = _field("nM", "calcium leak", {88: "T"})
    delta_C: NotNegative = _field("nM/pA", "calcium for each calcium current", {10.503: "T"})
    beta_A: NotNegative = _field("nM/s", "release of acetylcholine", {5: "U"})
    mu_A: Positive = _field("1/s", "decay of acetylcholine", {1.86: "U"})
    gamma_A: Positive = _field("nM²", "half saturation of the receptor, squared", {1: "U"})
    kappa_A: NotNegative = _field("1/mV", "slope of the release", {0.2: "U"})
    I_ext: Real = _field("pA", "constant external current", {0: "S", -5: "S", 5: "S"})
    sigma: NotNegative = _field(
        "pA·ms^½", "strength of the white noise", {2.5: "S", 2: "S", 3: "S", 5: "T", 4: "U", 6: "U"}
    )


PARAMETERS: dict[str, Parameter] = {each.name: each.metadata["parameter"] for each in fields(SacParameters)}
