"""The parameters of a starburst amacrine cell (SAC), apart from Brian2: reading a configuration need not load it."""

from dataclasses import asdict, dataclass

from rwtl.errors import InputError

_POSITIVE = {"C_m", "tau_N", "tau_R", "tau_S", "tau_C", "H_X", "mu_A", "gamma_A", "V_2", "V_4"}
_ANY_SIGN = {"V_L", "V_C", "V_K", "V_A", "V_0", "V_1", "V_3", "I_ext"}


@dataclass
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
        for name, value in asdict(self).items():
            if not abs(value) < float("inf"):
                raise InputError(f"cell.{name} is {value}: give a finite number")
            if name in _POSITIVE and value <= 0:
                raise InputError(f"cell.{name} is {value}: it must be greater than 0")
            if name not in _ANY_SIGN and value < 0:
                raise InputError(f"cell.{name} is {value}: it must not be negative")
