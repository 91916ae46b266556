"""Differences of means against scipy, and Holm's correction against its definition."""

import numpy as np
import pytest
import scipy.stats

from nondet.analysis.stats import holm, mean_difference, paired_difference

A = np.array([0.912, 0.915, 0.909, 0.921, 0.917, 0.911, 0.914])
B = np.array([0.917, 0.916, 0.915, 0.922, 0.921, 0.918, 0.913])


def rng() -> np.random.Generator:
    return np.random.default_rng(2)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_few_pairs_have_students_interval(confidence):
    found = paired_difference(A, B, rng(), confidence=confidence)
    theirs = scipy.stats.ttest_rel(B, A).confidence_interval(confidence)
    assert found.interval == pytest.approx((np.mean(B - A), *theirs), rel=1e-9)
    assert found.method == "Student's t interval of the paired differences"
    assert found.reason.startswith("7 pairs; BCa needs")


@pytest.mark.parametrize("size", [2, 5, 7])
def test_few_runs_of_two_sides_have_welchs_interval(size):
    found = mean_difference(A, B[:size], rng(), confidence=0.9)
    theirs = scipy.stats.ttest_ind(B[:size], A, equal_var=False).confidence_interval(0.9)
    value = np.mean(B[:size]) - np.mean(A)
    assert found.interval == pytest.approx((value, *theirs), rel=1e-9)
    assert found.method == "Welch's t interval"


@pytest.mark.parametrize("paired", [True, False])
def test_many_runs_have_the_bca_interval(paired):
    generator = np.random.default_rng(8)
    a, b = generator.lognormal(size=(2, 40))
    if paired:
        found = paired_difference(a, b, rng(), 40_000, least_bca=40)
        data, statistic = (b - a,), lambda x, axis: np.mean(x, axis=axis)
    else:
        found = mean_difference(a, b, rng(), 40_000, least_bca=40)
        data = (b, a)

        def statistic(x, y, axis):
            return np.mean(x, axis=axis) - np.mean(y, axis=axis)

    assert found.method.startswith("BCa bootstrap")
    theirs = scipy.stats.bootstrap(data, statistic, n_resamples=40_000, rng=rng(), batch=2_000)
    # Both ends are quantiles of 40,000 draws, whose errors are about 1% of the width.
    width = found.interval.high - found.interval.low
    ends = (theirs.confidence_interval.low, theirs.confidence_interval.high)
    assert found.interval[1:] == pytest.approx(ends, abs=0.03 * width)


def test_the_bootstrap_repeats_with_its_generator():
    a, b = np.random.default_rng(8).normal(size=(2, 12))
    one, again, other = (
        mean_difference(a, b, np.random.default_rng(seed), 500, least_bca=3) for seed in (1, 1, 2)
    )
    assert one == again != other


@pytest.mark.parametrize("value", [0.1, 1e-30, 0.8288888888888889])
def test_equal_differences_have_an_interval_without_width(value):
    a = np.zeros(5)
    assert paired_difference(a, a + value, rng()).interval == (value, value, value)
    low = mean_difference(a, a + value, rng()).interval
    assert low == pytest.approx((value, value, value), rel=1e-15)


def test_one_run_has_no_interval():
    assert np.isnan(paired_difference(A[:1], B[:1], rng()).interval[1:]).all()
    assert np.isnan(mean_difference(A, B[:1], rng()).interval[1:]).all()


@pytest.mark.parametrize(
    ("a", "b", "settings", "message"),
    [
        ([], [1.0], {}, "must be a vector of at least 1"),
        ([1.0, np.nan], [1.0, 2.0], {}, "a holds NaN"),
        ([1.0, 2.0], [1.0, np.inf], {}, "b holds NaN or infinite"),
        ([1.0, 2.0], [1.0, 2.0], {"confidence": 1.0}, "confidence is 1.0"),
        ([1.0, 2.0], [1.0, 2.0], {"resamples": 0}, "resamples is 0"),
    ],
)
@pytest.mark.parametrize("function", [paired_difference, mean_difference])
def test_bad_arguments_are_named(function, a, b, settings, message):
    with pytest.raises(ValueError, match=message):
        function(np.array(a), np.array(b), rng(), **settings)


def test_pairs_must_be_pairs():
    with pytest.raises(ValueError, match="one value a pair each, got 7 and 6"):
        paired_difference(A, B[:6], rng())


P = [0.01, 0.04, 0.03, 0.005, 0.04, 0.5]


def test_holm_multiplies_by_the_tests_that_are_left():
    # Sorted: 0.005 * 6, 0.01 * 5, 0.03 * 4, 0.04 * 3, 0.04 * 2, 0.5; never falling.
    assert holm(P) == pytest.approx([0.05, 0.12, 0.12, 0.03, 0.12, 0.5])
    assert holm([0.6, 0.7]).tolist() == [1, 1]
    assert holm([0.2]).tolist() == [0.2]
    assert holm([]).tolist() == []


def test_statsmodels_corrects_alike():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    values = np.random.default_rng(1).random(30) ** 3
    assert holm(values) == pytest.approx(multitest.multipletests(values, method="holm")[1])


@pytest.mark.parametrize("p", [[0.1, np.nan], [-0.1], [1.1], [[0.1]]])
def test_holm_wants_probabilities(p):
    with pytest.raises(ValueError, match="p must be a vector of numbers in"):
        holm(p)
