from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest

from nondet.analysis.stats import components


def anova(values):
    """Compute variance components in exact arithmetic: sums of squares of effects by nested loops,
    then the expected mean squares solved from the highest interaction down.
    """
    shape = values.shape
    cells = {cell: Fraction(float(values[cell])) for cell in product(*map(range, shape))}
    sources = range(len(shape))
    effects = [e for size in range(len(shape) + 1) for e in combinations(sources, size)]
    effect_of, mean_square = {}, {}
    for effect in effects:
        squares = Fraction(0)
        for levels in product(*(range(shape[i]) for i in effect)):
            chosen = [
                value
                for cell, value in cells.items()
                if all(cell[i] == level for i, level in zip(effect, levels, strict=True))
            ]
            mean = sum(chosen) / len(chosen)
            for size in range(len(effect)):
                for lower in combinations(range(len(effect)), size):
                    key = tuple(effect[i] for i in lower), tuple(levels[i] for i in lower)
                    mean -= effect_of[key]
            effect_of[effect, levels] = mean
            squares += len(chosen) * mean**2
        freedom = 1
        for i in effect:
            freedom *= shape[i] - 1
        mean_square[effect] = squares / freedom
    variance = {}
    for effect in sorted(effects[1:], key=len, reverse=True):
        rest = mean_square[effect]
        for higher, found in variance.items():
            if set(effect) < set(higher):
                rest -= found * repeats(shape, higher)
        variance[effect] = rest / repeats(shape, effect)
    return {effect: float(found) for effect, found in variance.items()}


def repeats(shape, effect):
    return int(np.prod([n for i, n in enumerate(shape) if i not in effect]))


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4), (2, 3, 2, 2), (2, 2, 2, 2, 2)])
def test_components_equal_exact_nested_loops(shape):
    values = np.random.default_rng(0).integers(-50, 50, shape) / 8
    found = components(values, np.random.default_rng(1), resamples=50)
    expected = anova(values)
    assert found.unclipped.keys() == found.effects.keys() == expected.keys()
    for effect, variance in expected.items():
        assert found.unclipped[effect] == pytest.approx(variance, rel=1e-9, abs=1e-9)
        assert found.effects[effect].value == pytest.approx(max(variance, 0), rel=1e-9, abs=1e-9)
    clipped = {effect: max(variance, 0) for effect, variance in expected.items()}
    whole = sum(clipped.values())
    for i in range(len(shape)):
        assert found.first_order[i].value == pytest.approx(clipped[(i,)] / whole, abs=1e-9)
        with_i = sum(v for effect, v in clipped.items() if i in effect)
        assert found.total[i].value == pytest.approx(with_i / whole, abs=1e-9)


def test_intervals_of_one_source_are_those_of_a_variance():
    # The textbook interval SS / chi-squared quantiles, up to the error of the resampling.
    values = np.random.default_rng(2).normal(size=9)
    found = components(values, np.random.default_rng(3), resamples=200_000).effects[(0,)]
    squares = 8 * np.var(values, ddof=1)
    # 0.975 and 0.025 quantiles of chi-squared with 8 degrees of freedom, from tables.
    assert found.low == pytest.approx(squares / 17.5345, rel=0.01)
    assert found.high == pytest.approx(squares / 2.17973, rel=0.02)


def test_no_effect_is_zero_and_no_variance_gives_nan_shares():
    values = np.repeat(np.array([[1.0], [4.0], [6.0]]), 4, axis=1)
    found = components(values, np.random.default_rng(0), 100)
    assert found.effects[(1,)] == found.effects[(0, 1)] == (0, 0, 0)
    assert found.first_order == [(1, 1, 1), (0, 0, 0)] == found.total
    none = components(np.full((3, 3), 0.1), np.random.default_rng(0), 100)
    assert set(none.effects.values()) == {(0, 0, 0)}
    assert np.isnan(none.first_order).all()
    assert np.isnan(none.total).all()


def test_bad_input_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"at least 2 levels along every source, got shape \(3, 1"):
        components(np.zeros((3, 1)), rng)
    with pytest.raises(ValueError, match="values holds NaN"):
        components(np.array([[1, 2], [3, np.nan]]), rng)
    with pytest.raises(ValueError, match="confidence is 95"):
        components(np.eye(3), rng, confidence=95)
