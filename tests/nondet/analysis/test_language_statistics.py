"""Compare statistics of language models with values computed by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from factories.language import made_measures, noisy_measures
from nondet.analysis.language_statistics import language_statistics
from nondet.analysis.resampling import bootstrap
from nondet.analysis.stats import bootstrap_spread, pair_mean, unbiased_sd

CKA = {"layer1": (0.95, 0.96, 0.97), "layer2": (0.5, 0.6, 0.85)}


@pytest.fixture
def found():
    return language_statistics(
        made_measures((70, 72, 77), (0.1, 0.2, 0.3), (0.9, 0.92, 0.97), (-3, -4, -6.5), CKA)
    )


def test_statistics_by_hand(found):
    # The deviations from 73 are -3, -1 and 4; their squares add up to 26.
    assert found.perplexity_mean == 73
    assert found.perplexity.sd == pytest.approx(math.sqrt(26 / 3), rel=1e-14)
    # c4(3) = Gamma(3/2) / Gamma(1) = sqrt(pi) / 2.
    assert found.perplexity_unbiased.value == pytest.approx(
        math.sqrt(13) / (math.sqrt(math.pi) / 2), rel=1e-14
    )
    logs = [math.log(one) for one in (70, 72, 77)]
    mean = sum(logs) / 3
    squares = sum((one - mean) ** 2 for one in logs)
    assert found.cross_entropy_mean == pytest.approx(mean, rel=1e-15)
    assert found.cross_entropy.sd == pytest.approx(math.sqrt(squares / 3), rel=1e-13)
    assert found.cross_entropy_unbiased.value == pytest.approx(
        math.sqrt(2 * squares / math.pi), rel=1e-13
    )
    assert found.disagreement.value == pytest.approx(20, rel=1e-14)
    assert found.correlation.value == pytest.approx(0.93, rel=1e-14)
    assert found.ensemble_perplexity.value == pytest.approx(-4.5, rel=1e-14)
    assert found.ensemble_cross_entropy.value == pytest.approx(-0.045, rel=1e-14)
    assert list(found.cka) == ["layer1", "layer2"]
    assert found.cka["layer1"].value == pytest.approx(0.96, rel=1e-14)
    assert found.last_cka == found.cka["layer2"]
    assert found.last_cka.value == pytest.approx(0.65, rel=1e-14)


def test_error_bar_is_that_of_all_resamples():
    """The error bar is the standard deviation over all resamples. A resample of two values a and b
    has the SD |a - b| / 2 or 0 with equal odds, so the error bar is |a - b| / 4.
    """
    found = language_statistics(made_measures((70, 72), (0.1,), (0.9,), (-3,), {}))
    assert found.perplexity.sd == 1
    assert found.perplexity.error == pytest.approx(0.5, abs=0.005)
    assert math.isnan(found.last_cka.value)


def test_intervals_are_those_of_each_quantity_and_stay_in_its_range():
    measures = noisy_measures(8, 1.0)
    found = language_statistics(measures)
    for name, expected, low, high in (
        ("disagreement", 100 * measures.disagreement, 0, 100),
        ("correlation", measures.correlation, -1, 1),
        ("ensemble_perplexity", measures.ensemble_perplexity, -math.inf, 0),
        ("ensemble_cross_entropy", measures.ensemble_cross_entropy, -math.inf, 0),
    ):
        value = getattr(found, name)
        assert value == pair_mean(expected, low=low, high=high)
        assert low < value.low < value.value < value.high < high
    for tap, alike in measures.cka.items():
        assert found.cka[tap] == pair_mean(alike, low=-1, high=1)
    perplexities = measures.perplexities
    assert found.perplexity == bootstrap_spread(perplexities, bootstrap("perplexity"))
    assert found.perplexity_unbiased == unbiased_sd(perplexities)
    low, high = found.perplexity_unbiased[1:]
    assert low < found.perplexity_unbiased.value < high
    assert found.measures is measures


def test_equal_runs_have_no_spread():
    found = language_statistics(noisy_measures(4, 0.0))
    assert found.perplexity == found.cross_entropy == (0, 0)
    for value, exact in (
        (found.perplexity_unbiased, 0),
        (found.disagreement, 0),
        (found.correlation, 1),
        (found.last_cka, 1),
    ):
        assert value.value == exact
        assert np.isnan(value[1:]).all()


def test_undefined_correlation_and_cka_are_nan():
    measures = noisy_measures(4, 1.0)
    holed = np.full((4, 4), np.nan)
    found = language_statistics(replace(measures, correlation=holed, cka={"layer1": holed}))
    assert all(map(math.isnan, (*found.correlation, *found.last_cka)))
    assert found.disagreement.value > 0


def test_the_number_of_resamples_is_that_of_error_bars():
    measures = noisy_measures(6, 1.0)
    few, many = (language_statistics(measures, resamples) for resamples in (10, 10_000))
    assert few.perplexity.sd == many.perplexity.sd
    assert few.perplexity.error != many.perplexity.error
    assert few.correlation == many.correlation
