"""Statistics over seeds: intervals, paired tests corrected for their number, effect sizes, and seeds needed.

A study has few seeds, often five to ten. What is here keeps its promises there, as
tests/compare/test_statistics_over_seeds.py shows by simulation.
"""

from collections.abc import Mapping
from itertools import product

import numpy as np
from jaxtyping import Float
from scipy import stats

ENUMERATED = 12  # up to so many seeds all 2**n signs are gone through; of more, a random part
SIGNS = 2**ENUMERATED
LEAST_FOR_INTERVAL = 4  # of fewer the resamples of one value alone reach the tails
_QUANTILES = (np.arange(2000) + 0.5) / 2000
_SAME = 1e-9  # what differs by rounding is a tie


def bootstrap_interval(
    values: Float[np.ndarray, " n"], confidence: float = 0.95, resamples: int = 9999, seed: int = 0
) -> tuple[float, float]:
    """Return the bootstrap-t interval of the mean; nan where there are fewer than four values, or one is no number.

    The percentile bootstrap of five values from a normal distribution covers their mean in 82 % of cases where it says
    95 %; resampling the studentised mean covers it in 94 % (Efron & Tibshirani, An Introduction to the Bootstrap, 1993,
    section 12.5). Where all values are equal, so are the bounds.
    """
    n = len(values)
    if n < LEAST_FOR_INTERVAL or not np.isfinite(values).all():
        return float("nan"), float("nan")
    drawn = values[np.random.default_rng(seed).integers(0, n, (resamples, n))]
    t = studentised(drawn - values.mean())
    low, high = np.quantile(t, [(1 - confidence) / 2, (1 + confidence) / 2], method="inverted_cdf")
    error = values.std(ddof=1) / np.sqrt(n)
    if error <= _SAME * abs(values.mean()):
        return float(values.mean()), float(values.mean())
    return float(values.mean() - high * error), float(values.mean() - low * error)


def studentised(values: Float[np.ndarray, "*k n"]) -> Float[np.ndarray, "*k"]:
    """Return mean / standard error along the last axis: ±inf where equal values are not 0, 0 where they are."""
    mean, deviation = values.mean(axis=-1), values.std(axis=-1, ddof=1)
    equal = deviation <= _SAME * np.abs(values).max(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = mean / (deviation / np.sqrt(values.shape[-1]))
    return np.where(equal, np.where(mean == 0, 0.0, np.copysign(np.inf, mean)), t)


def paired_tests(differences: Mapping[str, Mapping[int, float]], seed: int = 0) -> dict[str, tuple[float, float]]:
    """Return p and its correction for the number of comparisons, by name: nan for those with fewer than two seeds.

    Args:
        differences: for each comparison, condition − baseline by seed of training.
        seed: of the random signs, which are drawn where a study has more than twelve seeds.

    Under the null hypothesis a seed's differences are as likely with the opposite sign, all of a seed at once, for they
    share its baseline. p is the share of the signs under which |mean / standard error| is at least what was found, two
    sided: exact where all signs are gone through. The corrected p compares with the largest of all comparisons under
    each sign (Westfall & Young, Resampling-Based Multiple Testing, 1993, single-step maxT): none of the comparisons
    without an effect is found significant at 5 % in more than 5 % of studies. p is never below 2 / 2**n of n seeds.
    """
    tested = {name: by_seed for name, by_seed in differences.items() if _is_testable(by_seed)}
    seeds = sorted(set().union(*tested.values())) if tested else []
    signs = _signs(len(seeds), seed)
    column = {each: k for k, each in enumerate(seeds)}
    flipped, found = {}, {}
    for name, by_seed in tested.items():
        values = np.array(list(by_seed.values()), dtype=float)
        own = signs[:, [column[each] for each in by_seed]]
        flipped[name] = np.abs(studentised(own * values))
        found[name] = np.abs(studentised(values))
    largest = np.max(list(flipped.values()), axis=0) if tested else None
    nothing = (float("nan"), float("nan"))
    return {
        name: (_share(flipped[name], found[name]), _share(largest, found[name])) if name in tested else nothing
        for name in differences
    }


def _is_testable(by_seed: Mapping[int, float]) -> bool:
    return len(by_seed) >= 2 and bool(np.isfinite(list(by_seed.values())).all())


def _signs(seeds: int, seed: int) -> np.ndarray:
    """All signs, or so many random ones after the one that was found (Phipson & Smyth 2010: p is never 0)."""
    if seeds <= ENUMERATED:
        return np.array(list(product((1.0, -1.0), repeat=seeds)))
    drawn = np.random.default_rng(seed).choice((1.0, -1.0), size=(SIGNS - 1, seeds))
    return np.concatenate([np.ones((1, seeds)), drawn])


def _share(under_signs: np.ndarray, found: float) -> float:
    least = found if np.isinf(found) else found - _SAME * max(1.0, found)
    return float(np.mean(under_signs >= least))


def effect_size(differences: Float[np.ndarray, " n"]) -> float:
    """Return the mean paired difference in standard deviations of it, corrected for few pairs (Hedges 1981).

    nan for fewer than three pairs, and where the differences are equal.
    """
    n = len(differences)
    if n < 3 or not (deviation := differences.std(ddof=1)) > 0:
        return float("nan")
    return float(differences.mean() / deviation * (1 - 3 / (4 * (n - 1) - 1)))


def seeds_needed(deviation: float, effect: float, alpha: float = 0.05, power: float = 0.8, most: int = 10_000) -> int:
    """Return how many seeds a paired two-sided t-test needs to find an effect; `most` + 1 where that many do not do.

    Args:
        deviation: standard deviation of the paired differences.
        effect: the mean difference that is to be found, in the same unit.
        alpha: level of the test; divide it by the number of comparisons to be made at once.
        power: the share of studies that are to find it.
        most: where to stop.

    By the noncentral t distribution (Cohen, Statistical Power Analysis, 1988). A test by signs needs besides
    2 / 2**n ≤ alpha.
    """
    if not (deviation > 0 and effect != 0):
        return 2

    def finds(n: int) -> bool:
        bound = stats.t.ppf(1 - alpha / 2, n - 1)
        shift = abs(effect) / deviation * np.sqrt(n)
        # P(T > bound) of the noncentral t, over quantiles of the sample's deviation: SciPy's own is nan far out.
        spread = np.sqrt(stats.chi2.ppf(_QUANTILES, n - 1) / (n - 1))
        found = stats.norm.cdf(shift - bound * spread) + stats.norm.cdf(-shift - bound * spread)
        return bool(found.mean() >= power)

    low, high = 1, 2
    while not finds(high):
        low, high = high, high * 2
        if low > most:
            return most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if finds(middle) else (middle, high)
    return high


def median_until(times: Float[np.ndarray, " n"], reached: np.ndarray) -> float:
    """Return the Kaplan–Meier median of times, of which some were only watched until then; inf where it lies beyond.

    Args:
        times: when it was reached, or until when it was not.
        reached: which of the two, for each.
    """
    survival = stats.ecdf(stats.CensoredData(uncensored=times[reached], right=times[~reached])).sf
    below = survival.quantiles[survival.probabilities <= 0.5 + _SAME]
    return float(below[0]) if len(below) else float("inf")
