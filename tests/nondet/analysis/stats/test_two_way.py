"""Variances over runs and examples against brute force, and their limits."""

import numpy as np
import pytest
import scipy.stats

from nondet.analysis.stats import clustered_error, components, sampling_share, two_way_difference

CLUSTERS = np.array([2, 0, 1, 0, 2, 2, 1, 3])


def scores(seed: int, runs: int, examples: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(runs, examples))


def test_the_parts_are_those_of_the_components_of_a_cross():
    a, b = scores(1, 5), scores(2, 5)
    found = two_way_difference(a, b, paired=True)
    parts = components(b - a, np.random.default_rng(0), 10).unclipped
    both = parts[(0, 1)] / 40
    assert found.runs**2 == pytest.approx(parts[(0,)] / 5 + both)
    assert found.examples**2 == pytest.approx(parts[(1,)] / 8 + both)
    assert found.interval.value == pytest.approx((b - a).mean())


def test_the_width_is_students():
    a, b = scores(3, 6, 40), scores(4, 6, 40)
    b += scores(5, 6, 1) + scores(6, 1, 40)  # runs and examples have effects of their own
    found = two_way_difference(a, b, paired=True, confidence=0.9)
    parts = components(b - a, np.random.default_rng(0), 10).unclipped
    variance = parts[(0,)] / 6 + parts[(1,)] / 40 + parts[(0, 1)] / 240
    quantile = scipy.stats.t.ppf(0.95, found.freedom)
    assert found.interval.high - found.interval.value == pytest.approx(quantile * variance**0.5)
    assert 5 < found.freedom < 39


def test_sides_that_are_not_paired_add_their_variances():
    a, b = scores(7, 3), scores(8, 5)
    found = two_way_difference(a, b, paired=False)
    runs = a.mean(1).var(ddof=1) / 3 + b.mean(1).var(ddof=1) / 5
    assert found.runs**2 == pytest.approx(runs)
    d = b.mean(0) - a.mean(0)
    assert found.examples == pytest.approx(d.std(ddof=1) / 8**0.5)


def test_clusters_sum_the_deviations_of_their_examples():
    a, b = scores(9, 4), scores(10, 4)
    found = two_way_difference(a, b, True, CLUSTERS)
    d = (b - a).mean(0)
    brute = sum((d[c == CLUSTERS] - d.mean()).sum() ** 2 for c in range(4)) / 64 * 4 / 3
    assert found.examples**2 == pytest.approx(brute)
    assert clustered_error(d, CLUSTERS) == pytest.approx(found.examples)


def test_clusters_of_one_example_are_examples():
    d = scores(11, 1)[0]
    assert clustered_error(d) == pytest.approx(d.std(ddof=1) / 8**0.5)
    assert clustered_error(d, np.array(list("abcdefgh"))) == pytest.approx(clustered_error(d))


def test_examples_repeated_in_a_cluster_count_once():
    d = scores(12, 1)[0]
    repeated, which = np.repeat(d, 3), np.repeat(np.arange(8), 3)
    assert clustered_error(repeated, which) == pytest.approx(clustered_error(d))
    assert clustered_error(repeated) < 0.7 * clustered_error(d)


def test_millers_formula_differs_by_the_number_of_clusters():
    d = scores(13, 1)[0]
    centred = d - d.mean()
    same = (CLUSTERS[:, None] == CLUSTERS) & ~np.eye(8, dtype=bool)
    miller = (centred @ centred + centred @ same @ centred) / 64
    assert clustered_error(d, CLUSTERS) ** 2 == pytest.approx(miller * 4 / 3)


SINGLE = np.array([0.1, -0.4, 0.7, 0.2, 0.9, -0.3, 0.5, 0.6])


def test_the_error_is_that_of_a_regression_with_clusters():
    # statsmodels 0.15.0, below.
    assert clustered_error(SINGLE, CLUSTERS) == pytest.approx(0.15243253289023745, rel=1e-9)


def test_statsmodels_has_the_same_error():
    api = pytest.importorskip("statsmodels.api")
    model = api.OLS(SINGLE, np.ones(8)).fit(cov_type="cluster", cov_kwds={"groups": CLUSTERS})
    assert model.bse[0] == pytest.approx(clustered_error(SINGLE, CLUSTERS), rel=1e-9)


def test_runs_that_agree_leave_the_error_of_examples():
    a, b = np.tile(scores(14, 1), (4, 1)), np.tile(scores(15, 1), (4, 1))
    found = two_way_difference(a, b, True)
    assert found.runs == pytest.approx(0, abs=1e-15)
    theirs = scipy.stats.ttest_rel(b[0], a[0]).confidence_interval()
    assert found.interval[1:] == pytest.approx(theirs)


def test_equal_methods_have_an_interval_without_width():
    a = scores(16, 3)
    assert two_way_difference(a, a, True).interval == (0, 0, 0)


def test_sampling_of_the_test_set_explains_runs_that_err_independently():
    generator = np.random.default_rng(17)
    a, b = (generator.random((2, 40, 500)) < 0.1).astype(float)
    share = sampling_share(b - a).share
    assert share.low < 1 < share.high
    # Errors are Bernoulli(p): the variance of a difference of means is 2 p (1 - p) / N.
    assert sampling_share(b - a).sampling ** 2 == pytest.approx(2 * 0.09 / 500, rel=0.1)


@pytest.mark.parametrize(
    ("a", "b", "paired", "clusters", "message"),
    [
        ((1, 4), (3, 4), False, None, r"a must be \(runs, examples\), at least 2"),
        ((2, 4), (2, 5), False, None, "the same examples, got 4 and 5"),
        ((2, 4), (3, 4), True, None, "one row a pair each, got 2 and 3"),
        ((2, 4), (2, 4), True, [0, 1], "one entry an example, 4, got shape"),
        ((2, 4), (2, 4), True, [7, 7, 7, 7], "a single cluster"),
    ],
)
def test_bad_arguments_are_named(a, b, paired, clusters, message):
    groups = None if clusters is None else np.array(clusters)
    with pytest.raises(ValueError, match=message):
        two_way_difference(np.zeros(a), np.zeros(b), paired, groups)


def test_scores_that_are_not_finite_are_refused():
    bad = np.zeros((2, 3))
    bad[1, 1] = np.nan
    with pytest.raises(ValueError, match="b holds NaN"):
        two_way_difference(np.zeros((2, 3)), bad, True)
