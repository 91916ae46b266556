import math

import numpy as np
import pytest

from nondet.stats import bootstrap_spread, standard_deviation


def test_standard_deviation_divides_by_n():
    assert standard_deviation(np.array([2.0, 4, 4, 4, 5, 5, 7, 9])) == 2


@pytest.mark.parametrize("value", [0.1, 1e-30, 0.8288888888888889])
def test_equal_values_have_exactly_no_spread(value):
    # The mean of twelve equal floats is not always that float.
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


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"non-empty vector, got shape \(0,\)"):
        standard_deviation(np.array([]))
    with pytest.raises(ValueError, match=r"got shape \(2, 2\)"):
        bootstrap_spread(np.zeros((2, 2)), np.random.default_rng(0))
    with pytest.raises(ValueError, match="resamples is 0"):
        bootstrap_spread(np.zeros(3), np.random.default_rng(0), resamples=0)
