"""Statistics over seeds: intervals, paired tests corrected for their number, effect sizes, and seeds needed.

A study has few seeds, often five to ten. What is here keeps its promises there, as
tests/comparing/test_statistics_over_seeds.py shows by simulation.
"""

from bisect import bisect_left
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from scipy import stats

SIGNS = 2**12  # of up to twelve seeds all 2**n signs are gone through; of more, this many random ones
# Of two or three values the interval reaches 9 or 2.5 standard deviations to both sides, and none can tell whether they
# are normally distributed.
LEAST_FOR_INTERVAL = 4
_QUANTILES = (np.arange(2000) + 0.5) / 2000
_SAME = 1e-9  # what differs by rounding is a tie


def interval_of_mean(values: Float[np.ndarray, "*k n"], confidence: float = 0.95) -> Float[np.ndarray, "2 *k"]:
    """Return the lower and the upper bound of Student's t interval of the mean along the last axis.

    nan where there are fewer than four values, or where one is not finite. Exact for values from a normal distribution,
    and near to it for other symmetric ones, such as paired differences of two conditions that spread alike. Of a skewed
    distribution it covers the mean less often than it says: of an exponential one, with five values and a confidence of
    95 %, in 88 % of cases.
    """
    n = values.shape[-1]
    if n < LEAST_FOR_INTERVAL:
        return np.full((2, *values.shape[:-1]), np.nan)
    with np.errstate(invalid="ignore"):  # of infinite values the deviation is nan
        mean, error = values.mean(axis=-1), values.std(axis=-1, ddof=1) / np.sqrt(n)
    half = stats.t.ppf((1 + confidence) / 2, n - 1) * error
    return np.array([mean - half, mean + half])


def studentised(values: Float[np.ndarray, "*k n"]) -> Float[np.ndarray, "*k"]:
    """Return mean / standard error along the last axis, of the values that are not nan, which must be two or more.

    ±inf where equal values are not 0, and 0 where they are.
    """
    mean, deviation = np.nanmean(values, axis=-1), np.nanstd(values, axis=-1, ddof=1)
    equal = deviation <= _SAME * np.nanmax(np.abs(values), axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = mean / (deviation / np.sqrt((~np.isnan(values)).sum(axis=-1)))
    return np.where(equal, np.where(mean == 0, 0.0, np.copysign(np.inf, mean)), t)


def paired_tests(differences: Mapping[str, Mapping[int, float]], seed: int = 0) -> dict[str, tuple[float, float]]:
    """Return p and its correction for the number of comparisons, by name: nan for those with fewer than two seeds.

    Args:
        differences: for each comparison, condition − baseline by seed of training.
        seed: of the random signs, which are drawn where a study has more than twelve seeds.

    Under the null hypothesis a seed's differences are as likely with the opposite sign, all of a seed at once, for they
    share its baseline. p is the share of the signs under which |mean / standard error| is at least what was found, two
    sided: exact where all signs are gone through. Random signs count beside those that were found, so that p is never 0
    (Phipson & Smyth 2010). The corrected p compares with the largest of all comparisons under each sign (Westfall &
    Young, Resampling-Based Multiple Testing, 1993, single-step maxT): none of the comparisons without an effect is
    found significant at 5 % in more than 5 % of studies. p is never below 2 / 2**n of n seeds.
    """
    finite = {name: np.isfinite(list(by_seed.values())).all() for name, by_seed in differences.items()}
    tested = {name: by_seed for name, by_seed in differences.items() if len(by_seed) >= 2 and finite[name]}
    found = dict.fromkeys(differences, (float("nan"), float("nan")))
    if not tested:
        return found
    seeds = sorted(set().union(*tested.values()))
    values = np.array([[by_seed.get(each, np.nan) for each in seeds] for by_seed in tested.values()])
    # SciPy's own p is not used: differences by rounding are no ties to it, and it warns of inf.
    with np.errstate(invalid="ignore"):
        test = stats.permutation_test(
            (values,),
            lambda flipped, axis: np.abs(studentised(flipped)),
            permutation_type="samples",
            vectorized=True,
            n_resamples=SIGNS,
            axis=-1,
            rng=seed,
        )
    beside = 0 if 2 ** len(seeds) <= SIGNS else 1
    largest = test.null_distribution.max(axis=-1)
    for name, statistic, flipped in zip(tested, test.statistic, test.null_distribution.T, strict=True):
        least = statistic if np.isinf(statistic) else statistic - _SAME * max(1.0, statistic)
        counts = [int((under >= least).sum()) for under in (flipped, largest)]
        found[name] = tuple((count + beside) / (len(largest) + beside) for count in counts)
    return found


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

    return bisect_left(range(most + 1), True, lo=2, key=finds)


def median_until(times: Float[np.ndarray, " n"], reached: np.ndarray) -> float:
    """Return the Kaplan–Meier median of times, of which some were only watched until then; inf where it lies beyond.

    Args:
        times: when it was reached, or until when it was not.
        reached: which of the two, for each.
    """
    survival = stats.ecdf(stats.CensoredData(uncensored=times[reached], right=times[~reached])).sf
    below = survival.quantiles[survival.probabilities <= 0.5 + _SAME]
    return float(below[0]) if len(below) else float("inf")
