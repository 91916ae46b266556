"""Simulate how often intervals contain the true value, and compare with docs/statistics.md.

The documented coverage p was measured in thousands of simulations, so the number of hits in S new
ones is binomial. A test fails if it lies outside the central range that contains 999 in 1,000 draws
of that distribution. The draws are seeded, so the outcome of a test does not vary.
"""

import numpy as np
import pytest
import scipy.stats

from nondet.analysis import stats

SD = [(5, 0.96), (10, 0.95), (50, 0.945)]


def holds(interval: stats.Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


def check(hits: list[bool], least: float, most: float) -> None:
    """Fail if the hits contradict a coverage between `least` and `most`, the documented limits."""
    low = scipy.stats.binom.ppf(0.0005, len(hits), least)
    high = scipy.stats.binom.ppf(0.9995, len(hits), most)
    assert low <= sum(hits) <= high, f"{sum(hits)} of {len(hits)}, not in [{low}, {high}]"


@pytest.mark.parametrize(("n", "coverage"), SD)
def test_unbiased_sd_of_normal_values(n, coverage):
    rng = np.random.default_rng(n)
    found = [stats.unbiased_sd(rng.normal(3, 2, n)) for _ in range(600)]
    check([holds(one, 2) for one in found], coverage, coverage)
    mean = np.mean([one.value for one in found])
    error = scipy.stats.norm.ppf(0.9995) * 2 * np.sqrt(0.5 / (n - 1) / 600)
    assert abs(mean - 2) < error * 1.1  # the SD of s / c4 is slightly above its large-sample value


@pytest.mark.parametrize(("n", "m"), [(10, 10), (8, 30)])
def test_sd_ratio_of_normal_values(n, m):
    rng = np.random.default_rng(n)
    found = [stats.sd_ratio(rng.normal(0, 3, n), rng.normal(0, 2, m)) for _ in range(600)]
    check([holds(one, 1.5) for one in found], 0.93, 0.96)


def models_and_noise(rng, runs, model, noise):
    a, e = rng.normal(0, model, runs), np.triu(rng.normal(0, noise, (runs, runs)), 1)
    return 10 + a[:, None] + a + e + e.T


@pytest.mark.parametrize(("model", "noise", "least", "most"), [(1, 1, 0.93, 0.97), (0, 1, 0.98, 1)])
def test_mean_over_pairs_that_share_models(model, noise, least, most):
    rng = np.random.default_rng(5)
    found = [stats.pair_mean(models_and_noise(rng, 12, model, noise)) for _ in range(400)]
    check([holds(one, 10) for one in found], least, most)


def test_mean_over_pairs_of_distances():
    rng = np.random.default_rng(6)
    hits = []
    for _ in range(400):
        x = rng.normal(size=25)
        found = stats.pair_mean(np.abs(x[:, None] - x), low=0)
        hits.append(holds(found, 2 / np.sqrt(np.pi)))
    check(hits, 0.93, 0.96)


@pytest.mark.parametrize("shift", [0, 0.8])
def test_share_of_the_test_set(shift):
    # An example is wrong with probability p + u p (1 - p), where u depends on the run.
    rng = np.random.default_rng(7)
    runs, examples, hits, remaining = 12, 300, [], []
    for _ in range(500):
        p = rng.beta(0.3, 2, examples)
        weight = p * (1 - p)
        u = rng.uniform(-shift, shift, (runs, 1))
        found = stats.sampling_share((rng.random((runs, examples)) < p + u * weight).astype(float))
        sampling = weight.sum() / examples**2
        common = shift**2 / 3 * (weight.sum() ** 2 - (weight**2).sum()) / examples**2
        hits.append(holds(found.share, sampling / (sampling + common)))
        remaining.append(found.remaining_variance - common * examples / (examples - 1))
    check(hits, 0.93, 0.96)
    # The unclipped estimate is unbiased for this test set.
    assert abs(scipy.stats.ttest_1samp(remaining, 0).statistic) < 3.5


@pytest.mark.parametrize("skewed", [False, True])
def test_components(skewed):
    truth = {(0,): 1.0, (1,): 0.25, (0, 1): 0.3}
    total = sum(truth.values())
    rng = np.random.default_rng(8)
    found = []
    for _ in range(250):
        draw = (lambda size: rng.exponential(size=size) - 1) if skewed else rng.standard_normal
        values = draw((6, 1)) + 0.5 * draw((1, 6)) + 0.3**0.5 * draw((6, 6))
        found.append(stats.components(values, rng, 200))
    for effect, variance in truth.items():
        estimates = [one.unclipped[effect] for one in found]
        assert abs(scipy.stats.ttest_1samp(estimates, variance).statistic) < 4
        if not skewed:
            check([holds(one.effects[effect], variance) for one in found], 0.94, 0.97)
    if not skewed:
        check([holds(one.first_order[0], 1 / total) for one in found], 0.93, 0.98)
        check([holds(one.total[1], 0.55 / total) for one in found], 0.93, 0.99)
