import numpy as np
import pytest

from nondet.analysis.stats import barrier, growth_rates

STEPS = np.arange(10, 1010)


def logistic(rate, plateau=1.0, first=1e-9):
    """Return a distance that grows by `rate` per step and saturates at a plateau."""
    e = first * np.exp(rate * (STEPS - STEPS[0]))
    return plateau * e / (plateau + e)


def noise(sigma):
    return np.exp(np.random.default_rng(0).normal(0, sigma, len(STEPS)))


def test_growth_of_an_exponential_is_exact():
    found = growth_rates(STEPS, 1e-8 * 2 ** ((STEPS - 10) / 40))
    assert found.exponential
    assert found.lyapunov == pytest.approx(np.log(2) / 40, rel=1e-12)
    assert found.rate == pytest.approx(np.log(2) / 40, rel=1e-9)
    assert found.doubling_steps == pytest.approx(40, rel=1e-9)
    assert (found.saturation_step, found.first, found.last) == (None, 10, 1009)


@pytest.mark.parametrize("sigma", [0, 0.3])
def test_rate_and_saturation_of_a_logistic_are_close(sigma):
    found = growth_rates(STEPS, logistic(0.06) * noise(sigma))
    assert found.exponential
    # At a tenth of the plateau the logarithm is below the exponential's by -log(0.9).
    assert found.rate == pytest.approx(0.06, rel=0.02)
    # Half of the plateau is reached after log(1e9) / 0.06 = 345 steps.
    assert abs(found.saturation_step - 355) <= (1 if sigma == 0 else 15)
    assert found.first == 10
    assert 290 < found.last < 330


def test_zeros_at_the_start_are_skipped():
    late = np.concatenate([np.zeros(100), logistic(0.06)[:-100]])
    plain, shifted = growth_rates(STEPS, logistic(0.06)), growth_rates(STEPS, late)
    assert shifted.first == 110
    assert shifted.last == plain.last + 100
    assert shifted.saturation_step == plain.saturation_step + 100
    assert shifted.rate == pytest.approx(plain.rate, rel=1e-9)
    flat = growth_rates(STEPS, np.concatenate([np.zeros(100), np.full(len(STEPS) - 100, 1e-7)]))
    assert flat[3:] == (None, 110, 1009, False)


@pytest.mark.parametrize(
    "distance",
    [
        np.full(len(STEPS), 1e-7),
        1e-7 * np.exp(-0.01 * (STEPS - 10.0)),
        1e-7 * (STEPS - 9.0) ** 0.5,  # a random walk of rounding errors
        1e-7 * (STEPS - 9.0),
    ],
    ids=["flat", "decaying", "random walk", "linear"],
)
@pytest.mark.parametrize("sigma", [0, 0.2])
def test_other_courses_have_no_exponential_phase(distance, sigma):
    found = growth_rates(STEPS, distance * noise(sigma))
    assert not found.exponential
    assert found.doubling_steps == np.inf


def test_decay_has_a_negative_exponent():
    found = growth_rates(STEPS, 1e-7 * np.exp(-0.01 * (STEPS - 10.0)))
    assert found.rate == pytest.approx(-0.01, rel=1e-9)
    assert found.lyapunov == pytest.approx(-0.01, rel=1e-9)


def test_short_and_empty_records_have_no_exponential_phase():
    none = growth_rates(STEPS, np.zeros(len(STEPS)))
    assert none[2:] == (np.inf, None, None, None, False)
    assert np.isnan(none[:2]).all()
    one = growth_rates(np.array([3]), np.array([1e-3]))
    assert one[2:] == (np.inf, None, 3, 3, False)
    two = growth_rates(np.array([3, 5]), np.array([1e-3, 1e-1]))
    assert two.lyapunov == pytest.approx(np.log(100) / 2)
    assert not two.exponential


def test_bad_records_are_refused():
    with pytest.raises(ValueError, match="vectors of one length"):
        growth_rates(np.arange(3), np.ones(4))
    with pytest.raises(ValueError, match="step must increase"):
        growth_rates(np.array([1, 1]), np.ones(2))
    with pytest.raises(ValueError, match="negative, NaN or infinite"):
        growth_rates(np.arange(2), np.array([1, np.nan]))


def test_barrier_stands_above_the_straight_line():
    assert barrier(np.array([1.0, 5.0, 3.0])) == 3
    assert barrier(np.array([0.0, 3.0, 2.0, 4.0])) == pytest.approx(3 - 4 / 3)
    assert barrier(np.array([1.0, 1.5, 2.0, 2.5])) == 0
    assert barrier(np.array([3.0, 0.0, 1.0])) == 0  # a valley is not a barrier
    with pytest.raises(ValueError, match="at least 2 losses"):
        barrier(np.array([1.0]))
