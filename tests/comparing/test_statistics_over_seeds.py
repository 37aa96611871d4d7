"""The statistics of a comparison, against SciPy's and against studies whose effects are known."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from rwtl.comparing.statistics import effect_size, interval_of_mean, median_until, paired_tests, seeds_needed

STUDIES = 20000


def coverage(draw, n):
    values = draw(np.random.default_rng(0), (STUDIES, n))
    low, high = interval_of_mean(values)
    return np.mean((low <= 0) & (high >= 0))


def normal(rng, shape):
    return rng.normal(size=shape)


def heavy_tailed(rng, shape):
    return rng.standard_t(3, size=shape)


def differences_of_skewed(rng, shape):
    return rng.exponential(size=shape) - rng.exponential(size=shape)


def skewed(rng, shape):
    return rng.exponential(size=shape) - 1


@pytest.mark.parametrize("n", [4, 5, 6, 8])
def test_intervals_cover_the_mean_as_often_as_they_say(n):
    assert coverage(normal, n) == pytest.approx(0.95, abs=0.005)
    assert 0.945 <= coverage(heavy_tailed, n) <= 0.975 and 0.945 <= coverage(differences_of_skewed, n) <= 0.975


@pytest.mark.parametrize("n", [5, 8])
def test_of_skewed_values_they_cover_less_as_is_documented(n):
    assert 0.87 <= coverage(skewed, n) <= 0.91


def test_an_interval_is_scipys_and_follows_the_confidence():
    values = np.random.default_rng(2).normal(3, 2, (3, 6))
    for confidence in (0.95, 0.99):
        expected = stats.ttest_1samp(values, 0, axis=1).confidence_interval(confidence)
        np.testing.assert_allclose(interval_of_mean(values, confidence), expected)
        np.testing.assert_allclose(interval_of_mean(values[1], confidence), [bound[1] for bound in expected])


def test_few_equal_and_broken_values_have_no_interval_or_an_empty_one():
    for few in ([], [1.0], [1.0, 2.0, 3.0]):
        assert np.isnan(interval_of_mean(np.array(few))).all()
    for broken in (np.nan, np.inf):
        found = interval_of_mean(np.array([[1.0, 2.0, 3.0, broken], [1.0, 2.0, 3.0, 4.0]]))
        assert np.isnan(found[:, 0]).all() and np.isfinite(found[:, 1]).all()
    assert tuple(interval_of_mean(np.array([2.0, 2.0, 2.0, 2.0]))) == (2.0, 2.0)
    assert tuple(interval_of_mean(np.zeros(4))) == (0.0, 0.0)


def by_seed(values):
    return dict(enumerate(map(float, values)))


def t_of(values):
    """|mean / standard error|, one comparison at a time; of equal values inf, or 0 where they are 0."""
    if np.ptp(values) <= 1e-9 * np.abs(values).max():
        return np.inf if values[0] else 0.0
    return abs(values.mean()) / (values.std(ddof=1) / np.sqrt(len(values)))


def enumerated(differences):
    """p and corrected p of `paired_tests` by their definition: every sign of every seed, comparison by comparison."""
    seeds = sorted(set().union(*differences.values()))
    under = []
    for signs in product((1, -1), repeat=len(seeds)):
        sign = dict(zip(seeds, signs, strict=True))
        of_each = [[sign[seed] * value for seed, value in pairs.items()] for pairs in differences.values()]
        under.append([t_of(np.array(values)) for values in of_each])
    found, under = np.array(under[0]), np.array(under)
    least = np.where(np.isinf(found), found, found - 1e-9 * np.maximum(found, 1))
    p = (under >= least).mean(axis=0)
    corrected = (under.max(axis=1, keepdims=True) >= least).mean(axis=0)
    return dict(zip(differences, zip(p, corrected, strict=True), strict=True))


@pytest.mark.parametrize("n", [3, 5, 6, 8])
def test_p_and_its_correction_are_those_of_all_signs_with_ties_and_missing_seeds_too(n):
    rng = np.random.default_rng(n)
    values = rng.normal(0.6, 1, (4, n))
    values[1] = np.round(values[1])
    values[2] = rng.choice([-0.1, 0.1, 0.2, 0.3], n)
    differences = dict(zip("abcd", map(by_seed, values), strict=True)) | {"equal": by_seed(np.full(n, -0.7))}
    differences["lacking"] = {seed: differences["a"][seed] + 0.5 for seed in range(1, n)}
    differences["alone"] = {n + 1: 0.3, 0: 0.4}
    for tested in (differences, {name: differences[name] for name in ("a", "b", "c", "lacking")}):
        found, expected = paired_tests(tested), enumerated(tested)
        assert list(found) == list(expected)
        np.testing.assert_allclose([found[name] for name in tested], [expected[name] for name in tested])


@pytest.mark.parametrize("n", [4, 6, 9, 12])
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
    assert p == pytest.approx(expected, abs=0.02)
    assert paired_tests({"one": by_seed(values)}, seed=0)["one"][0] == p, "the same each time"
    assert paired_tests({"one": by_seed(values)}, seed=1)["one"][0] != p
    assert paired_tests({"one": by_seed(1 + np.arange(40) / 100)})["one"] == (1 / 4097, 1 / 4097), "never 0"


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
