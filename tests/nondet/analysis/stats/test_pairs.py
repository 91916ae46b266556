"""Tests of means over pairs and their quotients against loops."""

import math

import numpy as np
import pytest
import scipy.stats

from nondet.analysis.stats import mean_over_pairs, pair_mean, pair_ratio


def loop_mean(matrix, left_out=None):
    """Return the mean over pairs of different models, without one of them."""
    runs = [run for run in range(len(matrix)) if run != left_out]
    pairs = [matrix[i, j] for n, i in enumerate(runs) for j in runs[:n]]
    return math.fsum(pairs) / len(pairs)


def pairs_of(rng, runs):
    """Return a symmetric matrix of values between 0.1 and 0.9."""
    upper = np.triu(rng.uniform(0.1, 0.9, (runs, runs)), 1)
    return upper + upper.T


SCALES = {
    (-math.inf, math.inf): (lambda x: x, lambda z: z),
    (0, math.inf): (math.log, math.exp),
    (-math.inf, 1): (lambda x: math.log(1 - x), lambda z: 1 - math.exp(z)),
    (0, 2): (lambda x: math.log(x / (2 - x)), lambda z: 2 / (1 + math.exp(-z))),
    # Fisher's z.
    (-1, 1): (math.atanh, math.tanh),
}


@pytest.mark.parametrize("limits", SCALES)
@pytest.mark.parametrize("runs", [3, 7])
def test_pair_mean_equals_loops(limits, runs):
    matrix = pairs_of(np.random.default_rng(runs), runs)
    scale, back = SCALES[limits]
    found = pair_mean(matrix, 0.9, *limits)
    value = loop_mean(matrix)
    assert found.value == pytest.approx(value, rel=1e-13) == mean_over_pairs(matrix)
    left = [scale(loop_mean(matrix, run)) for run in range(runs)]
    error = math.sqrt((runs - 1) * np.var(left))
    width = scipy.stats.t.ppf(0.95, runs - 1) * error
    ends = sorted((back(scale(value) - width), back(scale(value) + width)))
    assert found[1:] == pytest.approx(tuple(ends), rel=1e-9)
    assert limits[0] < found.low < found.value < found.high < limits[1]


def test_pair_mean_at_its_limits():
    two = pair_mean(np.array([[9.0, 0.3], [0.3, 9.0]]))
    assert two.value == 0.3
    assert np.isnan(two[1:]).all()
    for alike in (0.1, 0.0, 1.0, 1 - 1e-10):
        found = pair_mean(np.full((6, 6), alike), low=0, high=1)
        assert found.value == alike
        assert np.isnan(found[1:]).all()
    assert np.isnan(pair_mean(np.full((4, 4), np.nan))).all()
    x = np.array([0.0, 1.0, 4.0])
    three = pair_mean(np.abs(x[:, None] - x))
    assert three.low < three.value < three.high
    matrix = pairs_of(np.random.default_rng(1), 9)
    other = matrix.copy()
    np.fill_diagonal(other, 1e6)
    assert pair_mean(matrix) == pytest.approx(pair_mean(other), rel=1e-12)
    # All pairs but those of one run are alike: without it there is no measure at all.
    single = np.zeros((5, 5))
    single[0, 1:] = single[1:, 0] = 0.4
    assert np.isnan(pair_mean(single, low=0, high=1)[1:]).all()


@pytest.mark.parametrize("spread", [1e-3, 0.3, 3])
def test_intervals_of_pairs_stay_inside_their_range(spread):
    rng = np.random.default_rng(2)
    for _ in range(50):
        a = np.abs(rng.normal(0, spread, 5))
        correlations = np.tanh(1 - np.add.outer(a, a))
        found = pair_mean(correlations, low=-1, high=1)
        assert -1 < found.low < found.value < found.high < 1


def test_pair_ratio_equals_loops():
    rng = np.random.default_rng(3)
    a, b = pairs_of(rng, 6), pairs_of(rng, 5)
    found = pair_ratio(a, b, confidence=0.9)
    sides = [[math.log(loop_mean(m, run)) for run in range(len(m))] for m in (a, b)]
    parts = [(len(side) - 1) * np.var(side) for side in sides]
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 5 + parts[1] ** 2 / 4)
    width = math.exp(scipy.stats.t.ppf(0.95, freedom) * math.sqrt(sum(parts)))
    value = loop_mean(a) / loop_mean(b)
    assert found == pytest.approx((value, value / width, value * width), rel=1e-10)
    same = pair_ratio(a, 2 * a, paired=True)
    assert same.value == pytest.approx(0.5)
    assert np.isnan(same[1:]).all()  # leaving out a run changes nothing of the quotient


def test_pair_ratio_at_its_limits():
    some, none = pairs_of(np.random.default_rng(4), 5), np.zeros((5, 5))
    assert pair_ratio(none, some).value == 0
    assert np.isnan(pair_ratio(none, some)[1:]).all()
    assert pair_ratio(some, none).value == math.inf
    assert np.isnan(pair_ratio(none, none)).all()
    assert np.isnan(pair_ratio(some, some[:2, :2])[1:]).all()
    with pytest.raises(ValueError, match="the same runs, got 5 and 4"):
        pair_ratio(some, some[:4, :4], paired=True)
