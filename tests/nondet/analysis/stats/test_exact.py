"""Exact tests against enumeration in exact fractions, and against scipy."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from nondet.analysis.stats import permutation_test, sign_flip_test, smallest_p

SCORES = st.integers(0, 12)


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def flips(a: list[Fraction], b: list[Fraction]) -> Fraction:
    """Return p by trying every pattern of signs with exact sums."""
    d = [y - x for x, y in zip(a, b, strict=True)]
    seen = abs(sum(d))
    patterns = list(itertools.product((1, -1), repeat=len(d)))
    hits = sum(abs(sum(s * x for s, x in zip(signs, d, strict=True))) >= seen for signs in patterns)
    return Fraction(hits, len(patterns))


def splits(a: list[Fraction], b: list[Fraction]) -> Fraction:
    """Return p by trying every split with exact means."""
    pooled = [*a, *b]

    def distance(chosen: tuple[int, ...]) -> Fraction:
        of_b = sum(pooled[i] for i in chosen)
        return abs(of_b / len(b) - (sum(pooled) - of_b) / len(a))

    seen = distance(tuple(range(len(a), len(pooled))))
    every = list(itertools.combinations(range(len(pooled)), len(b)))
    return Fraction(sum(distance(chosen) >= seen for chosen in every), len(every))


@given(st.lists(st.tuples(SCORES, SCORES), min_size=1, max_size=8), st.sampled_from([1, 10, 1000]))
@settings(deadline=None)
def test_sign_flips_of_decimals_are_those_of_fractions(pairs, unit):
    # In floats 0.3 - 0.1 and 0.2 - 0.0 differ; as decimals they tie.
    a, b = ([Fraction(pair[i], unit) for pair in pairs] for i in (0, 1))
    found = sign_flip_test(np.array(a, dtype=float), np.array(b, dtype=float), rng())
    assert found.p == float(flips(a, b))
    assert found.draws is None


@given(
    st.lists(SCORES, min_size=1, max_size=5),
    st.lists(SCORES, min_size=1, max_size=5),
    st.sampled_from([1, 10, 1000]),
)
@settings(deadline=None)
def test_splits_of_decimals_are_those_of_fractions(a, b, unit):
    exact = [[Fraction(x, unit) for x in side] for side in (a, b)]
    found = permutation_test(*(np.array(side, dtype=float) for side in exact), rng())
    assert found.p == pytest.approx(float(splits(*exact)), rel=1e-12)


@pytest.mark.parametrize("scale", [1, 100])
def test_shares_in_percent_tie_as_decimals_do(scale):
    a, b = np.array([0.91, 0.92, 0.90, 0.93]), np.array([0.92, 0.91, 0.91, 0.94])
    # Of +1, -1, +1, +1, ten of sixteen patterns have a sum of at least 2 in size.
    assert sign_flip_test(scale * a, scale * b, rng()).p == 10 / 16


def test_a_known_case_of_darwins_maize():
    # Fisher 1935, "The Design of Experiments", sec. 21: 1,726 of 32,768 patterns.
    d = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48])
    found = sign_flip_test(np.zeros(15), d, rng())
    assert found.p == 1726 / 32768
    assert found.name == "sign-flip test, all 32,768 sign patterns"


@pytest.mark.parametrize("paired", [True, False])
def test_scipy_agrees(paired):
    generator = np.random.default_rng(4)
    a, b = generator.normal(size=(2, 7))
    theirs = scipy.stats.permutation_test(
        (a, b),
        lambda x, y: np.mean(y) - np.mean(x),
        permutation_type="samples" if paired else "independent",
        n_resamples=10_000,
    )
    ours = (sign_flip_test if paired else permutation_test)(a, b, rng())
    assert ours.p == pytest.approx(theirs.pvalue, abs=1e-12)


@pytest.mark.parametrize("runs", [1, 2, 5, 6])
def test_the_smallest_p_is_that_of_the_clearest_outcome(runs):
    a, b = np.arange(runs) / 10, np.arange(runs) / 10 + 5
    flipped, split = sign_flip_test(a, b, rng()), permutation_test(a, b, rng())
    assert flipped.p == flipped.smallest == smallest_p(runs, True) == 2.0 ** (1 - runs)
    assert split.p == split.smallest == smallest_p(runs, False)


def test_five_pairs_cannot_reach_five_percent_and_six_can():
    assert smallest_p(5, True) == 0.0625
    assert smallest_p(6, True) == 0.03125
    assert smallest_p(3, False) == 0.1


def test_sides_of_unequal_size_have_one_clearest_split():
    found = permutation_test(np.array([0.0, 1]), np.array([5.0, 6, 7]), rng())
    assert found.p == found.smallest == 1 / 10


def test_equal_scores_say_nothing():
    same = np.full(9, 0.1)
    assert sign_flip_test(same, same, rng()).p == 1
    assert permutation_test(same, same[:4], rng()).p == 1


@pytest.mark.parametrize("test", [sign_flip_test, permutation_test])
def test_random_arrangements_agree_with_all(test):
    generator = np.random.default_rng(5)
    a, b = generator.normal(size=(2, 14))
    b += 0.6
    every, some = test(a, b, rng()), test(a, b, rng(), 40_000, most_counted=0)
    error = (every.p * (1 - every.p) / 40_000) ** 0.5
    assert abs(every.p - some.p) < 4 * error
    assert some.draws == 40_000
    assert some.smallest == 1 / 40_001
    assert some == test(a, b, rng(), 40_000, most_counted=0)


@pytest.mark.parametrize("test", [sign_flip_test, permutation_test])
def test_forty_scores_are_counted_and_more_are_drawn(test):
    a, b = np.random.default_rng(6).normal(size=(2, 20))
    assert test(a, b, rng()).draws is None
    assert test(np.tile(a, 3), np.tile(b, 3), rng(), 50).draws == 50


@pytest.mark.parametrize("test", [sign_flip_test, permutation_test])
def test_a_shift_moves_the_difference_that_is_tested(test):
    a = np.array([0.1, 0.4, 0.2, 0.3, 0.6, 0.5])
    moved = test(a, a + 3, rng(), shift=3)
    assert moved.p == 1
    assert test(a, a, rng(), shift=3).p == test(a, a + 3, rng()).p == test(a, a, rng()).smallest


@pytest.mark.parametrize("test", [sign_flip_test, permutation_test])
@pytest.mark.parametrize(
    ("a", "b", "draws", "message"),
    [
        ([], [], 10, "a must be a vector of at least 1"),
        ([1.0], [np.nan], 10, "b holds NaN"),
        ([np.inf], [1.0], 10, "a holds NaN or infinite"),
        ([1.0], [2.0], 0, "draws is 0"),
    ],
)
def test_bad_arguments_are_named(test, a, b, draws, message):
    with pytest.raises(ValueError, match=message):
        test(np.array(a), np.array(b), rng(), draws)


def test_pairs_must_be_pairs():
    with pytest.raises(ValueError, match="one value a pair each, got 2 and 3"):
        sign_flip_test(np.zeros(2), np.zeros(3), rng())


@pytest.mark.parametrize("test", [sign_flip_test, permutation_test])
def test_random_arrangements_never_give_a_p_of_zero(test):
    a, b = np.arange(60) / 10, np.arange(60) / 10 + 50
    found = test(a, b, rng(), 200)
    assert found.p == found.smallest == 1 / 201
