"""The statistics of a comparison, against SciPy's and against studies whose effects are known."""

import numpy as np
import pytest
from scipy import stats

from rwtl.compare.statistics import bootstrap_interval, effect_size, median_until, paired_tests, seeds_needed

STUDIES = 1500


def coverage(draw, n, interval):
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(STUDIES):
        low, high = interval(draw(rng, n))
        covered += low <= 0 <= high
    return covered / STUDIES


def ours(values):
    return bootstrap_interval(values, resamples=999)


def percentiles(values):
    drawn = values[np.random.default_rng(0).integers(0, len(values), (999, len(values)))].mean(axis=1)
    return np.quantile(drawn, [0.025, 0.975])


def normal(rng, n):
    return rng.normal(size=n)


def skewed(rng, n):
    return rng.exponential(size=n) - 1


@pytest.mark.parametrize("draw", [normal, skewed])
@pytest.mark.parametrize("n", [5, 8])
def test_intervals_cover_the_mean_as_often_as_they_say(draw, n):
    assert 0.915 <= coverage(draw, n, ours) <= 0.975


def test_the_percentile_bootstrap_would_not():
    assert coverage(normal, 5, percentiles) < 0.87


def test_an_interval_holds_the_mean_and_follows_the_confidence():
    values = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0])
    low, high = bootstrap_interval(values, 0.95)
    lower, higher = bootstrap_interval(values, 0.99)
    assert lower < low < values.mean() < high < higher
    assert bootstrap_interval(values, 0.95) == (low, high), "the same each time"


def test_few_equal_and_broken_values_have_no_interval_or_an_empty_one():
    assert np.isnan(bootstrap_interval(np.array([1.0, 2.0, 3.0]))).all()
    assert np.isnan(bootstrap_interval(np.array([1.0, 2.0, 3.0, np.nan]))).all()
    assert bootstrap_interval(np.array([2.0, 2.0, 2.0, 2.0])) == (2.0, 2.0)
    assert bootstrap_interval(np.zeros(4)) == (0.0, 0.0)


def by_seed(values):
    return dict(enumerate(map(float, values)))


@pytest.mark.parametrize("n", [4, 6, 9])
def test_p_is_that_of_scipys_exact_permutation_test(n):
    rng = np.random.default_rng(n)
    for _ in range(5):
        values = rng.normal(0.5, 1, n)
        expected = stats.permutation_test(
            (values,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", n_resamples=np.inf
        ).pvalue
        p, corrected = paired_tests({"one": by_seed(values)})["one"]
        assert p == pytest.approx(expected) and corrected == p, "of one comparison nothing is to be corrected"


def test_p_has_the_least_value_that_so_many_seeds_allow():
    assert paired_tests({"one": by_seed([1.0, 1.1, 0.9, 1.2, 1.0, 1.05])})["one"][0] == pytest.approx(2 / 2**6)
    assert paired_tests({"one": by_seed([1.0, 1.0, 1.0])})["one"][0] == pytest.approx(2 / 2**3), "equal differences"
    assert paired_tests({"one": by_seed([0.0, 0.0, 0.0])})["one"] == (1.0, 1.0)


def test_many_seeds_are_tested_with_random_signs():
    values = np.random.default_rng(1).normal(0.4, 1, 14)
    expected = stats.permutation_test(
        (values,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", n_resamples=np.inf
    ).pvalue
    p = paired_tests({"one": by_seed(values)})["one"][0]
    assert p == pytest.approx(expected, abs=0.02) and p >= 1 / 4096


def test_what_cannot_be_tested_has_no_p_and_spoils_none():
    found = paired_tests({"one": {1: 0.3}, "broken": {1: 0.2, 2: np.nan}, "two": {1: 1.0, 2: 1.1, 3: 0.9}})
    assert np.isnan(found["one"]).all() and np.isnan(found["broken"]).all()
    assert found["two"] == (pytest.approx(0.25), pytest.approx(0.25))


def studies(effects, n, count, rng):
    """p and corrected p of each comparison, in studies of conditions that share a baseline."""
    for _ in range(count):
        baseline = rng.normal(size=n)
        runs = {name: 0.7 * baseline + rng.normal(size=n) + effect for name, effect in effects.items()}
        yield paired_tests({name: by_seed(values - baseline) for name, values in runs.items()})


@pytest.mark.parametrize("n", [6, 8])
def test_without_an_effect_few_studies_find_one(n):
    rng = np.random.default_rng(n)
    found = list(studies(dict.fromkeys("abcdefgh", 0.0), n, 400, rng))
    wrong = np.mean([min(corrected for _, corrected in study.values()) <= 0.05 for study in found])
    uncorrected = np.mean([min(p for p, _ in study.values()) <= 0.05 for study in found])
    assert wrong <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)
    assert uncorrected > 0.1, "without the correction more would"


def test_an_effect_is_found_and_does_not_make_the_others_found():
    rng = np.random.default_rng(3)
    found = list(studies({"large": -5.0} | dict.fromkeys("abcdef", 0.0), 8, 300, rng))
    assert np.mean([study["large"][1] < 0.05 for study in found]) > 0.8
    others = [min(corrected for name, (_, corrected) in study.items() if name != "large") for study in found]
    assert np.mean(np.array(others) <= 0.05) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)


def test_effect_size_is_hedges_g_of_the_differences():
    values = np.array([1.0, 2.0, 3.0, 4.0])
    assert effect_size(values) == pytest.approx(2.5 / values.std(ddof=1) * (1 - 3 / 11))
    assert effect_size(-values) == -effect_size(values)
    assert np.isnan(effect_size(np.array([1.0, 2.0]))) and np.isnan(effect_size(np.array([1.0, 1.0, 1.0])))


@pytest.mark.parametrize(("d", "seeds"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_seeds_needed_are_those_of_the_textbook(d, seeds):
    """Cohen's table of paired t-tests, two-sided 5 %, power 80 %."""
    assert seeds_needed(1.0, d) == seeds == seeds_needed(2.0, -2 * d)


def test_so_many_seeds_find_the_effect_and_fewer_do_not():
    rng = np.random.default_rng(0)
    n = seeds_needed(1.0, 0.9, alpha=0.05 / 4, power=0.9)

    def power(n):
        values = rng.normal(0.9, 1, (4000, n))
        return np.mean(stats.ttest_1samp(values, 0, axis=1).pvalue < 0.05 / 4)

    assert power(n) >= 0.9 - 0.015 and power(n - 2) < 0.9


def test_seeds_needed_where_there_is_no_spread_or_no_hope():
    assert seeds_needed(0.0, 1.0) == 2
    assert seeds_needed(1.0, 1e-6, most=100) == 101


def test_the_median_counts_those_that_did_not_come_there():
    times, reached = np.array([100.0, 200.0, 300.0, 400.0, 400.0]), np.array([True, True, True, False, False])
    assert median_until(times, reached) == 300
    assert median_until(times, np.array([True, True, False, False, False])) == np.inf
    assert median_until(times, np.ones(5, dtype=bool)) == 300
    assert median_until(np.array([400.0]), np.array([False])) == np.inf
    early = median_until(np.array([100.0, 150.0, 300.0, 400.0]), np.array([True, False, True, True]))
    assert early == 300, "one that was watched until 150 alone is at risk no more: 3/4 · 1/2 are left after 300"
