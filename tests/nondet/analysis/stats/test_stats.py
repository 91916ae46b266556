import math

import numpy as np
import pytest
import scipy.stats

from nondet.analysis.stats import (
    bootstrap_spread,
    detectable_sd_ratio,
    group_means,
    pair_mean,
    pair_ratio,
    partitions,
    reduction,
    sampling_share,
    sd_ratio,
    standard_deviation,
    unbiased_sd,
)


def test_standard_deviation_divides_by_n():
    assert standard_deviation(np.array([2.0, 4, 4, 4, 5, 5, 7, 9])) == 2


@pytest.mark.parametrize("value", [0.1, 1e-30, 0.8288888888888889])
def test_equal_values_have_exactly_no_spread(value):
    # The rounded mean of twelve equal floats can differ from them.
    spread = bootstrap_spread(np.full(12, value), np.random.default_rng(0))
    assert spread == (0, 0)


def test_bootstrap_is_the_slow_loop():
    values = np.array([0.3, 1.7, 2.0, -4.0, 0.5])
    error = bootstrap_spread(values, np.random.default_rng(7), resamples=500).error

    indices = np.random.default_rng(7).integers(0, 5, (500, 5))
    deviations = []
    for resample in indices:
        drawn = [values[i] for i in resample]
        mean = math.fsum(drawn) / 5
        deviations.append(math.sqrt(math.fsum((v - mean) ** 2 for v in drawn) / 5))
    mean = math.fsum(deviations) / 500
    expected = math.sqrt(math.fsum((d - mean) ** 2 for d in deviations) / 500)
    assert error == pytest.approx(expected, rel=1e-12)


def test_bootstrap_error_of_two_values_is_exact_in_the_limit():
    # Values 0 and 2: half of the resamples have SD 1, the others 0, so their SD is 1/2.
    spread = bootstrap_spread(np.array([0.0, 2.0]), np.random.default_rng(0))
    assert spread.sd == 1
    assert spread.error == pytest.approx(0.5, abs=1e-3)


def test_bootstrap_repeats_with_its_generator_and_leaves_the_global_one_alone():
    values = np.arange(12.0)
    state = np.random.get_state()[1].copy()
    spreads = [bootstrap_spread(values, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert spreads[0] == spreads[1] != spreads[2]
    assert (np.random.get_state()[1] == state).all()


def sd_over_c4(values, axis=-1):
    n = values.shape[axis]
    c4 = math.sqrt(2 / (n - 1)) * math.gamma(n / 2) / math.gamma((n - 1) / 2)
    return np.std(values, axis=axis, ddof=1) / c4


@pytest.mark.parametrize("n", [3, 5, 8])
def test_unbiased_sd_equals_loops(n):
    values = np.random.default_rng(n).gamma(2, size=n)
    logs = [math.log(sd_over_c4(np.delete(values, i))) for i in range(n)]
    mean = math.fsum(logs) / n
    error = math.sqrt((n - 1) / n * math.fsum((one - mean) ** 2 for one in logs))
    width = math.exp(scipy.stats.t.ppf(0.95, n - 1) * error)
    value = sd_over_c4(values)
    expected = (value, value / width, value * width)
    assert unbiased_sd(values, confidence=0.9) == pytest.approx(expected, rel=1e-10)


def test_c4_of_two_values():
    # c4(2) = sqrt(2 / pi): |x - y| / sqrt(2) over it is |x - y| sqrt(pi) / 2.
    found = unbiased_sd(np.array([1.0, 3.0]))
    assert found.value == pytest.approx(math.sqrt(math.pi), rel=1e-12)
    assert np.isnan(found[1:]).all()


def test_no_spread_is_exactly_none():
    equal, some = np.full(12, 0.1), np.arange(12.0)
    for found in (unbiased_sd(equal), sd_ratio(equal, some)):
        assert found.value == 0
        assert np.isnan(found[1:]).all()
    assert sd_ratio(some, equal).value == math.inf
    assert np.isnan(sd_ratio(some, equal)[1:]).all()
    assert np.isnan(sd_ratio(equal, equal)).all()


@pytest.mark.parametrize("values", [[1, 1, 2, 2], [1, 1, 1, 2, 2], [1, 1, 1, 2], [1, 1]])
def test_few_different_values_have_no_interval(values):
    sample, some = np.array(values, float), np.arange(9.0)
    assert unbiased_sd(sample).value == pytest.approx(sd_over_c4(sample))
    for found in (unbiased_sd(sample), sd_ratio(sample, some), sd_ratio(some, sample)):
        assert np.isnan(found[1:]).all()
    three = unbiased_sd(np.array([*values, 3.0, 3.0, 4.0, 4.0]))
    assert 0 < three.low < three.value < three.high


def test_ratio_of_paired_values_leaves_out_runs_of_both():
    a = np.array([0.1, 0.9, 0.4, 0.35, 1.2])
    # Twice the same values: leaving out a run changes nothing of the quotient.
    assert sd_ratio(2 * a, a, paired=True) == pytest.approx((2, math.nan, math.nan), nan_ok=True)
    b = a + np.array([0.01, 0, -0.02, 0, 0.01])
    paired, apart = sd_ratio(a, b, paired=True), sd_ratio(a, b)
    logs = [math.log(np.delete(a, i).std() / np.delete(b, i).std()) for i in range(5)]
    width = scipy.stats.t.ppf(0.975, 4) * math.sqrt(4 * np.var(logs))
    assert paired.high == pytest.approx(paired.value * math.exp(width), rel=1e-9)
    assert paired.value == apart.value
    assert paired.high < apart.high
    with pytest.raises(ValueError, match="one value a run each, got 5 and 4"):
        sd_ratio(a, a[:4], paired=True)


def test_detectable_ratio_has_its_power():
    ratio = detectable_sd_ratio(6, 9, power=0.8)
    generator = np.random.default_rng(5)
    found = [
        sd_ratio(ratio * generator.normal(size=6), generator.normal(size=9)).low > 1
        for _ in range(500)
    ]
    assert abs(np.mean(found) - 0.8) < 4 * math.sqrt(0.8 * 0.2 / 500)
    assert detectable_sd_ratio(6, 9, power=0.5) < ratio < detectable_sd_ratio(4, 9)
    assert detectable_sd_ratio(6, 9, confidence=0.99) > ratio
    assert detectable_sd_ratio(6, 9) == ratio


def test_detectable_ratio_of_many_runs():
    # Normal quantiles, and 1 / (2 n) for the variance of each logarithm.
    expected = math.exp((1.959964 + 0.841621) * math.sqrt(1 / 400))
    assert detectable_sd_ratio(400, 400) == pytest.approx(expected, rel=0.01)


def test_too_few_runs_detect_nothing():
    assert detectable_sd_ratio(2, 10) == math.inf
    with pytest.raises(ValueError, match="power is 1;"):
        detectable_sd_ratio(10, 10, power=1)


def test_sd_ratio_equals_loops():
    a, b = np.array([0.1, 0.9, 0.4, 0.35, 1.2]), np.array([3.0, 1.0, 2.5, 7.0])
    variances, freedoms = [], []
    for sample in (a, b):
        logs = [math.log(sd_over_c4(np.delete(sample, i))) for i in range(len(sample))]
        mean = sum(logs) / len(logs)
        n = len(logs)
        variances.append((n - 1) / n * sum((one - mean) ** 2 for one in logs))
        freedoms.append(n - 1)
    freedom = sum(variances) ** 2 / sum(v**2 / f for v, f in zip(variances, freedoms, strict=True))
    width = math.exp(scipy.stats.t.ppf(0.95, freedom) * math.sqrt(sum(variances)))
    value = sd_over_c4(a) / sd_over_c4(b)
    expected = (value, value / width, value * width)
    assert sd_ratio(a, b, confidence=0.9) == pytest.approx(expected, rel=1e-10)
    swapped = sd_ratio(b, a, confidence=0.9)
    assert swapped == pytest.approx((1 / expected[0], 1 / expected[2], 1 / expected[1]), rel=1e-10)


@pytest.mark.parametrize("values", [[1.0, 2.0], [1.0, 1.0, 2.0]])
def test_ratio_has_no_interval_where_one_value_makes_the_spread(values):
    found = sd_ratio(np.array(values), np.arange(9.0))
    assert found.value > 0
    assert np.isnan(found[1:]).all()


@pytest.mark.parametrize("offset", [0, 1e6])
def test_sampling_share_equals_loops(offset):
    losses = np.random.default_rng(5).gamma(1, size=(6, 9)).round(3)

    def split(table):
        def variance(values):
            mean = math.fsum(values) / len(values)
            return math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)

        examples = table.shape[1]
        total = variance([math.fsum(row) / examples for row in table])
        sampling = math.fsum(variance(column) for column in table.T) / examples / examples
        return total, sampling

    total, sampling = split(losses)
    found = sampling_share(losses + offset, confidence=0.9)
    assert found.total == pytest.approx(math.sqrt(total), rel=1e-6)
    assert found.sampling == pytest.approx(math.sqrt(sampling), rel=1e-6)
    assert found.remaining_variance == pytest.approx(9 / 8 * (total - sampling), rel=1e-5)
    assert found.remaining == math.sqrt(max(found.remaining_variance, 0))
    logs = []
    for r in range(6):
        t, s = split(np.delete(losses, r, axis=0))
        logs.append(math.log(s / t))
    width = math.exp(scipy.stats.t.ppf(0.95, 5) * math.sqrt(5 * np.var(logs)))
    share = sampling / total
    assert found.share == pytest.approx((share, share / width, share * width), rel=1e-5)


def test_sampling_share_at_its_limits():
    # Every run is wrong on a different example, so the mean losses are equal.
    found = sampling_share(np.eye(4))
    assert found.total == found.remaining == 0
    assert found.remaining_variance < 0 < found.sampling
    assert np.isnan(found.share).all()
    # A loss that a run adds to all examples alike does not come from sampling the test set.
    common = sampling_share(np.repeat(np.array([[0.0], [1.0], [3.0]]), 1000, axis=1))
    assert common.remaining == pytest.approx(common.total, rel=1e-3)
    with pytest.raises(ValueError, match=r"at least 2 of each, got shape \(1, 3\)"):
        sampling_share(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="losses holds NaN"):
        sampling_share(np.full((2, 3), np.nan))


def test_partitions_are_disjoint_and_repeat():
    found = partitions(11, 3, np.random.default_rng(0), 200)
    for groups in found:
        assert groups.shape == (3, 3)
        assert len(set(groups.ravel().tolist())) == 9
    assert {run for groups in found for run in groups.ravel().tolist()} == set(range(11))
    again = partitions(11, 3, np.random.default_rng(0), 200)
    np.testing.assert_array_equal(found, again)
    with pytest.raises(ValueError, match=r"size is 12; it must lie in \[1, 11\]"):
        partitions(11, 12, np.random.default_rng(0), 1)


def test_group_means():
    logits = np.random.default_rng(0).normal(size=(5, 3, 2)).astype(np.float32)
    groups = np.array([[0, 4], [3, 1]])
    expected = [
        (logits[0].astype(float) + logits[4]) / 2,
        (logits[3].astype(float) + logits[1]) / 2,
    ]
    np.testing.assert_array_equal(group_means(logits, groups), expected)


# REFERENCE, table A: the published values and reductions in percent.
SINGLE = (0.26, 0.0072, 10.7, 0.871, 1.82)


@pytest.mark.parametrize(
    ("row", "published"),
    [
        ((0.19, 0.0044, 6.1, 0.957, 0.63), 48),
        ((0.24, 0.0061, 8.2, 0.905, 1.20), 21),
        ((0.23, 0.0059, 9.2, 0.893, 1.49), 16),
        ((0.21, 0.0055, 8.8, 0.898, 1.39), 21),
        ((0.21, 0.0051, 7.2, 0.920, 0.99), 33),
        ((0.19, 0.0049, 6.9, 0.922, 0.92), 37),
        ((0.15, 0.0039, 5, 0.967, 0.45), 58),
        ((0.16, 0.0033, 4.6, 0.972, 0.38), 61),
    ],
)
def test_published_reductions(row, published):
    # The published values and reductions are rounded: each numerator and denominator may be off by
    # half of its last digit.
    halves = np.array([0.005, 0.00005, 0.05, 0.0005, 0.005])
    x, single = np.array(row), np.array(SINGLE)
    x[3], single[3] = 1 - x[3], 1 - single[3]
    error = 100 * np.mean(halves / single + x / single * halves / single)
    assert abs(100 * reduction(row, SINGLE) - published) <= 0.5 + error
    assert reduction(SINGLE, SINGLE) == 0


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"non-empty vector, got shape \(0,\)"):
        standard_deviation(np.array([]))
    with pytest.raises(ValueError, match=r"got shape \(2, 2\)"):
        bootstrap_spread(np.zeros((2, 2)), np.random.default_rng(0))
    with pytest.raises(ValueError, match="resamples is 0"):
        bootstrap_spread(np.zeros(3), np.random.default_rng(0), resamples=0)
    with pytest.raises(ValueError, match="values must be a vector of at least 2 values"):
        unbiased_sd(np.zeros(1))
    with pytest.raises(ValueError, match="values holds NaN"):
        unbiased_sd(np.array([1, np.nan, 2]))
    with pytest.raises(ValueError, match="b holds NaN or infinite"):
        sd_ratio(np.arange(3.0), np.array([1, np.inf]))
    with pytest.raises(ValueError, match="confidence is 1;"):
        sd_ratio(np.arange(3.0), np.arange(3.0), confidence=1)
    with pytest.raises(ValueError, match=r"matrix must be square, got shape \(2, 3\)"):
        pair_mean(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="at least 2 runs, got 1"):
        pair_mean(np.zeros((1, 1)))
    with pytest.raises(ValueError, match="low is 1 and high is 0"):
        pair_mean(np.zeros((3, 3)), low=1, high=0)
    with pytest.raises(ValueError, match="confidence is 0;"):
        pair_ratio(np.zeros((3, 3)), np.zeros((3, 3)), confidence=0)
