"""The probability of outperforming against scipy and exact distributions; stochastic order."""

import itertools

import numpy as np
import pytest
import scipy.stats

from nondet.analysis.stats import almost_stochastic_order, noether_pairs, outperforming


def rng() -> np.random.Generator:
    return np.random.default_rng(2)


def test_all_pairs_are_the_mann_whitney_statistic():
    generator = np.random.default_rng(1)
    a, b = generator.integers(0, 6, 9) / 10, generator.integers(1, 7, 11) / 10
    found = outperforming(a, b, rng(), paired=False).probability.value
    assert found == pytest.approx(scipy.stats.mannwhitneyu(b, a).statistic / 99, rel=1e-12)


def test_pairs_count_wins_and_half_of_the_ties():
    a, b = np.array([0.1, 0.2, 0.3, 0.5]), np.array([0.2, 0.2, 0.2, 0.6])
    assert outperforming(a, b, rng(), paired=True).probability.value == (1 + 0.5 + 0 + 1) / 4


def test_scores_that_differ_by_rounding_tie():
    a = np.array([0.3])
    assert outperforming(a, np.array([0.1 + 0.2]), rng(), paired=True).probability.value == 0.5


def test_resampled_pairs_have_the_binomial_distribution():
    # 7 of 10 pairs win, so a resample wins in a binomial number of 10 pairs.
    a, b = np.zeros(10), np.array([1.0] * 7 + [-1.0] * 3)
    found = outperforming(a, b, rng(), paired=True, resamples=100_000).probability
    expected = scipy.stats.binom.ppf([0.025, 0.975], 10, 0.7) / 10
    assert found[1:] == pytest.approx(expected)


def test_resampled_sides_have_the_distribution_of_all_resamples():
    a, b = np.array([0.0, 2, 4]), np.array([1.0, 3, 5])
    found = outperforming(a, b, rng(), paired=False, resamples=100_000, confidence=0.6).probability
    every = [
        np.mean([y > x for x in left for y in right])
        for left in itertools.product(a, repeat=3)
        for right in itertools.product(b, repeat=3)
    ]
    low, high = np.quantile(every, [0.2, 0.8])
    assert found[1:] == pytest.approx((low, high), abs=1e-12)


@pytest.mark.parametrize(
    ("wins", "significant", "meaningful"), [(29, True, True), (21, True, True), (15, False, False)]
)
def test_the_rule_of_three_quarters(wins, significant, meaningful):
    b = np.where(np.arange(29) < wins, 1.0, -1.0)
    found = outperforming(np.zeros(29), b, rng(), paired=True)
    assert (found.significant, found.meaningful) == (significant, meaningful)
    assert found.needed == 29


def test_many_runs_that_are_barely_better_are_significant_without_meaning():
    b = np.where(np.arange(1000) < 600, 1.0, -1.0)
    found = outperforming(np.zeros(1000), b, rng(), paired=True)
    assert (found.significant, found.meaningful) == (True, False)


def test_noethers_numbers_of_pairs():
    # Bouthillier et al. 2021, sec. 4.2 and appendix C: 29 at gamma = 0.75.
    assert noether_pairs() == 29
    assert noether_pairs(0.25) == 29
    z = scipy.stats.norm.ppf(0.99) + scipy.stats.norm.ppf(0.8)
    assert noether_pairs(0.6, 0.01, 0.2) == int(np.ceil(z**2 / 6 / 0.01))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.5,), "probability is 0.5"),
        ((1.0,), "probability is 1.0"),
        ((0.75, 0.0), "false_positive is 0.0"),
        ((0.75, 0.05, 0.5), "false_negative is 0.5"),
    ],
)
def test_noether_names_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        noether_pairs(*arguments)


@pytest.mark.parametrize("paired", [True, False])
def test_bad_samples_are_named(paired):
    with pytest.raises(ValueError, match="b holds NaN"):
        outperforming(np.zeros(2), np.array([1, np.nan]), rng(), paired)
    with pytest.raises(ValueError, match="resamples is 0"):
        outperforming(np.zeros(2), np.zeros(2), rng(), paired, 0)


def test_the_probability_is_that_of_rliable():
    # rliable 1.2.0, below: 0.645.
    found = outperforming(LOWER, HIGHER, rng(), paired=False).probability.value
    assert found == pytest.approx(0.645)


def test_rliable_has_the_same_probability():
    metrics = pytest.importorskip("rliable.metrics")
    theirs = metrics.probability_of_improvement(HIGHER[:, None], LOWER[:, None])
    ours = outperforming(LOWER, HIGHER, rng(), paired=False).probability.value
    assert ours == pytest.approx(theirs)


def violation(a: np.ndarray, b: np.ndarray) -> float:
    """Return the violation ratio from quantiles on a fine grid between their steps."""
    at = (np.arange(10_080) + 0.5) / 10_080
    d = np.quantile(b, at, method="inverted_cdf") - np.quantile(a, at, method="inverted_cdf")
    return float((d[d < 0] ** 2).sum() / (d**2).sum())


def test_stochastic_order_without_spread_is_the_violation_ratio():
    a, b = np.array([0.0, 5, 1]), np.array([2.0, 3, 1, 4])
    at_half = almost_stochastic_order(a, b, rng(), 200, confidence=0.5)  # the normal quantile is 0
    assert at_half == pytest.approx(violation(a, b), rel=1e-9)
    assert 0 < at_half < almost_stochastic_order(a, b, rng(), 200) <= 1


def test_stochastic_order_of_known_samples():
    low, high = np.array([1.0, 2, 3]), np.array([4.0, 5, 6])
    assert almost_stochastic_order(low, high, rng()) == 0
    assert almost_stochastic_order(high, low, rng()) == 1
    assert almost_stochastic_order(low, low, rng(), 1) == 0.5


def test_stochastic_order_claims_much_from_one_run():
    # A case reported to deepsig: one run of 8 beside five of 5, 5, 8, 7, 8.
    found = almost_stochastic_order(np.array([5.0, 5, 8, 7, 8]), np.array([8.0]), rng())
    assert found < 0.2


def test_stochastic_order_repeats_with_its_generator():
    a, b = np.random.default_rng(4).normal(size=(2, 12))
    b += 0.8
    one, again, other = (
        almost_stochastic_order(a, b, np.random.default_rng(seed), 300) for seed in (1, 1, 2)
    )
    assert one == again != other


LOWER = np.array([0.1, 0.5, 0.9, 0.2, 0.6, 0.3, 0.8, 0.4, 0.7, 0.35])
HIGHER = np.array([0.3, 0.65, 0.85, 0.5, 0.75, 0.4, 0.95, 0.25, 0.9, 0.6])
# deepsig 1.2.8: aso(HIGHER, LOWER, seed=1, num_bootstrap_iterations=2_000)
DEEPSIG = 0.4295


def test_the_bound_is_that_of_deepsig():
    # Both estimate a standard deviation from 2,000 resamples; deepsig sums on a grid of 0.005.
    assert almost_stochastic_order(LOWER, HIGHER, rng(), 2_000) == pytest.approx(DEEPSIG, abs=0.02)


def test_deepsig_bounds_alike():
    deepsig = pytest.importorskip("deepsig")
    theirs = deepsig.aso(HIGHER, LOWER, seed=1, num_bootstrap_iterations=2_000, show_progress=False)
    assert theirs == pytest.approx(DEEPSIG, abs=0.02)
