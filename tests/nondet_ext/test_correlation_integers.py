"""Compare correlations of integers of every dtype with exact integers, beyond 2^53 too."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import nondet_ext
from references.quotients import is_nearest

DTYPES = [
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.bool,
]


def limits(dtype):
    """Return the least and the largest number of an integer dtype."""
    if dtype == torch.bool:
        return 0, 1
    return torch.iinfo(dtype).min, torch.iinfo(dtype).max


def tensor(rows, dtype):
    """Return rows of Python integers as a tensor, without passing a float."""
    name = str(dtype).removeprefix("torch.")
    return torch.from_numpy(np.array(rows, dtype=name))


def product(q, s):
    return len(q) * sum(a * b for a, b in zip(q, s, strict=True)) - sum(q) * sum(s)


def assert_nearest(found, x, y):
    """Check that each value is the float64 nearest to the correlation of two rows of integers."""
    for i, q in enumerate(x):
        for j, s in enumerate(y):
            assert is_nearest(float(found[i, j]), product(q, s), product(q, q), product(s, s))


def rows_of(dtype, seed):
    """Return rows of integers: random ones, neighbours of both limits, the limits themselves."""
    low, high = limits(dtype)
    rng = np.random.default_rng(seed)
    n = 9
    anywhere = [low + int(rng.integers(0, 2**63)) % (high - low + 1) for _ in range(n)]
    small = [int(each) for each in rng.integers(0, 2, n)]
    top = [high - each % (high - low + 1) for each in range(n)]
    bottom = [low + each % (high - low + 1) for each in range(n)]
    ends = [low if each % 2 else high for each in range(n)]
    rows = [anywhere, small, top, bottom, ends]
    for row in rows:
        row[0], row[1] = (low, high) if row in (anywhere, ends) else (row[0], row[1])
    return [row for row in rows if len(set(row)) > 1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_pearson_of_integers_is_correctly_rounded(dtype):
    rows = rows_of(dtype, 1)
    others = rows_of(dtype, 2)
    x, y = tensor(rows, dtype), tensor(others, dtype)
    own = nondet_ext.pearson(x)
    assert_nearest(own, rows, rows)
    assert torch.equal(own, own.T)
    assert torch.equal(own.diagonal(), torch.ones(len(rows), dtype=torch.float64))
    assert_nearest(nondet_ext.pearson(x, y), rows, others)
    assert torch.equal(nondet_ext.pearson(x, nan_policy="omit"), own)


@pytest.mark.parametrize("dtype", DTYPES)
def test_spearman_of_integers_is_correctly_rounded(dtype):
    rows = rows_of(dtype, 3)
    ranks = [[2 * sum(b < a for b in row) + row.count(a) for a in row] for row in rows]
    assert_nearest(nondet_ext.spearman(tensor(rows, dtype)), ranks, ranks)


def test_pearson_beyond_float64():
    base = 2**53
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for start in (0, base, -base, 2**62, 2**63 - 3, -(2**63)):
            x = torch.tensor([[start, start + 1, start + 2], [1, 2, 3], [3, 1, 2]])
            found = nondet_ext.pearson(x)
            assert found[0, 1] == 1
            assert found[0, 2] == -0.5


def test_pearson_of_one_wide_and_one_narrow_side():
    """Each side has its own range; integers of one side meet floats of the other."""
    wide = [[-(2**63), 2**63 - 1, 5, 2**53 + 1], [0, 1, 2**60, 2**60 + 1]]
    narrow = [[1, 2, 4, 3]]
    x, y = tensor(wide, torch.int64), tensor(narrow, torch.int8)
    assert_nearest(nondet_ext.pearson(x, y), wide, narrow)
    assert_nearest(nondet_ext.pearson(y, x), narrow, wide)
    # The deviations of these floats from their mean, 2.5, are multiples of 2^-53.
    assert_nearest(nondet_ext.pearson(x, y.double()), wide, narrow)
    gaps = torch.tensor([[1.0, 2.0, 4.0, 3.0], [1.0, torch.nan, 4.0, 3.0]], dtype=torch.float64)
    found = nondet_ext.pearson(x, gaps, nan_policy="omit")
    assert_nearest(found[:, :1], wide, narrow)
    left = [[row[0], *row[2:]] for row in wide]
    assert found[0, 1] == pytest.approx(np.corrcoef(left[0], [1.0, 4.0, 3.0])[0, 1])


@settings(max_examples=100, deadline=None)
@given(
    st.integers(2, 12).flatmap(
        lambda n: st.tuples(
            *[
                st.lists(
                    st.integers(-(2**63), 2**63 - 1)
                    | st.integers(-3, 3)
                    | st.integers(2**53, 2**53 + 4),
                    min_size=n,
                    max_size=n,
                )
            ]
            * 2
        )
    )
)
def test_pearson_of_any_integers(rows):
    if any(len(set(row)) == 1 for row in rows):
        return
    assert_nearest(nondet_ext.pearson(torch.tensor(rows)), rows, rows)


@pytest.mark.parametrize("name", ["spearman", "pearson"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_constant_integers_are_named(name, dtype):
    low, high = limits(dtype)
    x = tensor([[low, high, low], [high] * 3], dtype)
    with pytest.warns(nondet_ext.DegenerateInputWarning, match="x has constant rows.*: 1$"):
        found = getattr(nondet_ext, name)(x)
    assert found.isnan().tolist() == [[False, True], [True, True]]
