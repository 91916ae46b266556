"""Power and runs needed against statsmodels, whose numbers stand here, and against pivots."""

import numpy as np
import pytest
import scipy.stats

from nondet.analysis.stats import (
    RunSpread,
    detectable_difference,
    paired_spread,
    pairing_gain,
    runs_needed,
    sd_interval,
    t_power,
    unpaired_spread,
)

# statsmodels 0.15.0: TTestPower().power(d, runs, 0.05), TTestIndPower().power(d, runs, 0.05)
PAIRED = [
    (0.2, 50, 0.2835924146674735),
    (0.5, 10, 0.2931756065140767),
    (1.0, 3, 0.1792553937765517),
    (1.5, 6, 0.8325292798668078),
    (2.0, 4, 0.7549839171140109),
]
UNPAIRED = [
    (0.2, 50, 0.16767548649609343),
    (0.5, 10, 0.18509565629116606),
    (1.0, 3, 0.158790870005201),
    (1.5, 6, 0.6495814802297614),
    (2.0, 4, 0.6568758750949886),
]


@pytest.mark.parametrize(("difference", "runs", "expected"), PAIRED)
def test_power_of_pairs(difference, runs, expected):
    found = t_power(3 * difference, RunSpread(3.0, 1.0), runs)
    assert found == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(("difference", "runs", "expected"), UNPAIRED)
def test_power_of_sides(difference, runs, expected):
    assert t_power(difference, unpaired_spread(1, 1), runs) == pytest.approx(expected, rel=1e-7)


def test_statsmodels_agrees():
    power = pytest.importorskip("statsmodels.stats.power")
    runs = np.array([2, 3, 10, 100])
    ours = t_power(0.4, RunSpread(1.0, 1.0), runs, 0.9)
    assert ours == pytest.approx(power.TTestPower().power(0.4, runs, 0.1))
    needed = power.TTestIndPower().solve_power(0.5, power=0.9, alpha=0.01)
    assert runs_needed(0.5, unpaired_spread(1, 1), 0.9, 0.99) == np.ceil(needed)
    many = power.NormalIndPower().power(0.02, 20_000, 0.05)
    assert t_power(0.02, unpaired_spread(1, 1), 20_000) == pytest.approx(many, abs=1e-4)


def test_many_runs_have_the_power_of_the_normal_test():
    z = scipy.stats.norm.ppf(0.975)
    shift = 0.02 * 10_000**0.5
    normal = scipy.stats.norm.sf(z - shift) + scipy.stats.norm.cdf(-z - shift)
    assert t_power(0.02, RunSpread(1.0, 1.0), 10_000) == pytest.approx(normal, abs=1e-4)


def test_no_difference_is_found_as_often_as_the_level_says():
    assert t_power(0.0, RunSpread(1.0, 1.0), np.array([2, 5, 50])) == pytest.approx([0.05] * 3)


@pytest.mark.parametrize("difference", [1e3, 1e8])
def test_huge_differences_are_found(difference):
    assert t_power(difference, RunSpread(1.0, 1.0), np.array([3, 5, 50])) == pytest.approx([1] * 3)


def test_spreads_follow_variances():
    assert paired_spread(3, 4, 0).sd == 5
    assert paired_spread(3, 3, 1).sd == 0
    assert paired_spread(3, 4, -1).sd == 7
    assert paired_spread(1, 1, 0.5) == (1, 1)
    assert unpaired_spread(3, 4).sd == 5
    assert unpaired_spread(2, 2).freedom == pytest.approx(2)
    assert unpaired_spread(0, 2).freedom == 1


@pytest.mark.parametrize("spread", [RunSpread(2.0, 1.0), unpaired_spread(1.0, 3.0)])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.99])
@pytest.mark.parametrize("difference", [0.2, -1.0, 30.0])
def test_runs_needed_are_the_fewest(spread, power, difference):
    found = runs_needed(difference, spread, power)
    assert found == int(found)
    assert t_power(difference, spread, int(found)) >= power
    assert found == 2 or t_power(difference, spread, int(found) - 1) < power


@pytest.mark.parametrize("runs", [2, 3, 12])
def test_the_detectable_difference_has_the_power(runs):
    spread = unpaired_spread(0.3, 0.2)
    found = detectable_difference(spread, runs, 0.8)
    assert t_power(found, spread, runs) == pytest.approx(0.8, abs=1e-6)


def test_no_spread_needs_two_runs_and_no_knowledge_needs_infinitely_many():
    assert runs_needed(0.1, RunSpread(0.0, 1.0)) == 2
    assert detectable_difference(RunSpread(0.0, 1.0), 5) == 0
    assert runs_needed(0.1, RunSpread(np.inf, 1.0)) == np.inf
    assert runs_needed(1e-9, RunSpread(1.0, 1.0)) == np.inf


def test_the_interval_of_a_standard_deviation_is_that_of_its_pivot():
    low, high = sd_interval(2.0, 9)[1:]
    for end, tail in ((low, 0.025), (high, 0.975)):
        assert scipy.stats.chi2.sf(9 * 4 / end**2, 9) == pytest.approx(tail)


def test_pairing_saves_what_the_correlation_says():
    generator = np.random.default_rng(1)
    shared = generator.normal(size=4_000)
    a, b = shared + generator.normal(size=(2, 4_000))
    found = pairing_gain(a, b)
    assert found.correlation.value == pytest.approx(np.corrcoef(a, b)[0, 1])
    expected = 1 - np.var(b - a) / (np.var(a) + np.var(b))
    assert found.saved.value == pytest.approx(expected)
    assert found.saved.low < 0.5 < found.saved.high
    fisher = scipy.stats.pearsonr(a, b).confidence_interval()
    assert found.correlation[1:] == pytest.approx(fisher)


def test_the_interval_of_what_pairing_saves_covers():
    # 2,000 pilots of 5 pairs with correlation 0.6: the hits are binomial if 95% cover.
    generator = np.random.default_rng(2)
    hits = 0
    for _ in range(2_000):
        shared = generator.normal(size=5) * 0.6**0.5
        a, b = shared + generator.normal(size=(2, 5)) * 0.4**0.5
        low, high = pairing_gain(a, b).saved[1:]
        hits += low <= 0.6 <= high
    low, high = scipy.stats.binom.ppf([0.0005, 0.9995], 2_000, 0.95)
    assert low <= hits <= high


def test_pairs_without_spread_say_nothing_about_pairing():
    found = pairing_gain(np.ones(4), np.array([1.0, 2, 3, 4]))
    assert np.isnan(found.saved.value)
    same = np.array([1.0, 2, 4])
    assert pairing_gain(same, same + 1).saved == (1, 1, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: t_power(1.0, RunSpread(1.0, 1.0), 1), "runs is 1"),
        (lambda: t_power(1.0, RunSpread(1.0, 1.0), 3, 0.0), "confidence is 0.0"),
        (lambda: runs_needed(0.0, RunSpread(1.0, 1.0)), "difference is 0.0"),
        (lambda: runs_needed(1.0, RunSpread(1.0, 1.0), 1.0), "power is 1.0"),
        (lambda: runs_needed(1.0, RunSpread(1.0, 1.0), 0.04), "power is 0.04"),
        (lambda: paired_spread(1, 1, 1.1), "correlation is 1.1"),
        (lambda: unpaired_spread(-1, 1), "must not be negative"),
        (lambda: sd_interval(1.0, 0), "freedom is 0"),
        (lambda: pairing_gain(np.ones(2), np.ones(2)), "at least 3 pairs, got 2"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
