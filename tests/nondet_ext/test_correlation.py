"""Compare Spearman's and Pearson's correlations of all pairs with SciPy and with exact integers and
fractions.
"""

import math
import warnings
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import nondet_ext
from nondet_ext import DegenerateInputWarning
from nondet_ext._correlation_ops import _KINDS
from references.quotients import is_nearest

FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def sample(shape, ties, seed=0):
    """Return normal values; a fraction `ties` of them is rounded to tenths, so that they tie."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape).astype(np.float32)
    shared = rng.random(shape) < ties
    return torch.from_numpy(np.where(shared, np.round(values, 1), values).astype(np.float32))


def centred_ranks(row):
    """Return twice SciPy's ranks minus n + 1, as int64."""
    doubled = 2 * scipy.stats.rankdata(row.double().numpy())
    return doubled.astype(np.int64) - len(row) - 1


def integer_product(a, b):
    """Return the exact inner product: int64 in blocks that cannot overflow, Python integers between
    blocks.
    """
    return sum(int(np.dot(a[i : i + 50_000], b[i : i + 50_000])) for i in range(0, len(a), 50_000))


def assert_nearest_spearman(found, x, y):
    left, right = [centred_ranks(row) for row in x], [centred_ranks(row) for row in y]
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            parts = integer_product(a, b), integer_product(a, a), integer_product(b, b)
            assert is_nearest(float(found[i, j]), *parts)


@pytest.mark.parametrize("ties", [0.0, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("n", [2, 3, 10, 1000, 100_000])
def test_spearman_is_scipys_and_correctly_rounded(n, ties):
    x = sample((3, n), ties, seed=n)
    x[:, 0], x[:, 1] = -3.0, 4.0  # never constant
    found = nondet_ext.spearman(x)
    assert found.dtype == torch.float64
    if n > 2:
        expected = scipy.stats.spearmanr(x.numpy(), axis=1).statistic
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
    assert_nearest_spearman(found, x, x)
    assert torch.equal(found, found.T)
    assert torch.equal(found.diagonal(), torch.ones(3, dtype=torch.float64))


def test_spearman_of_a_million_values_is_correctly_rounded():
    x = sample((2, 1_000_000), 0.3, seed=5)
    x[1] = 0.1 * x[1] + x[0]
    found = nondet_ext.spearman(x)
    assert_nearest_spearman(found, x, x)


@pytest.mark.parametrize("chunk", [2**34, 2**40])
def test_limbs_change_no_bit(monkeypatch, chunk):
    """Splitting integers into limbs, as vectors of millions need, changes no bit of the
    correlation.
    """
    x = sample((3, 1000), 0.3)
    expected = nondet_ext.spearman(x)
    monkeypatch.setattr("nondet_ext._integer_products.SHORTEST_CHUNK", chunk)
    assert torch.equal(nondet_ext.spearman(x), expected)
    assert torch.equal(nondet_ext.spearman(x[:1], x[1:]), expected[:1, 1:])


@pytest.mark.parametrize("dtype", [*FLOATS, torch.int64, torch.int32, torch.uint8, torch.bool])
def test_spearman_of_every_dtype(dtype):
    x = torch.round(10 * sample((4, 500), 0.5)).clamp(0, 100).to(dtype)
    assert_nearest_spearman(nondet_ext.spearman(x[:2], x[2:]), x[:2], x[2:])


def test_two_matrices_give_the_blocks_of_one():
    x, y = sample((4, 700), 0.5), sample((3, 700), 0.5, seed=1)
    for correlate in (nondet_ext.spearman, nondet_ext.pearson):
        whole = correlate(torch.cat([x, y]))
        assert torch.equal(correlate(x, y), whole[:4, 4:])
        assert torch.equal(correlate(y, x), whole[4:, :4])


@pytest.mark.parametrize("name", ["spearman", "pearson"])
def test_threads_strides_and_paths_change_no_bit(name, backend, threads):
    correlate = getattr(nondet_ext, name)
    n = 1500 if backend.startswith("cpu") else 150
    x = sample((4, n), 0.3)
    expected = {
        "spearman": lambda: scipy.stats.spearmanr(x.numpy(), axis=1).statistic,
        "pearson": lambda: np.corrcoef(x.double().numpy()),
    }[name]()
    found = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        found.append(correlate(x))
        found.append(correlate(x.T.contiguous().T))
        found.append(correlate(torch.repeat_interleave(x, 2, dim=1)[:, ::2]))
        found.append(correlate(x.reshape(4, 10, -1)))
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-13)
    assert all(torch.equal(each, found[0]) for each in found)


@pytest.mark.parametrize("name", ["spearman", "pearson"])
def test_groups_of_rows_change_no_bit(name, monkeypatch):
    x = sample((7, 400), 0.3)
    expected = getattr(nondet_ext, name)(x)
    small = replace(_KINDS[name], group_bytes=2 * 8 * 400)
    monkeypatch.setitem(_KINDS, name, small)
    assert torch.equal(getattr(nondet_ext, name)(x), expected)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 30).flatmap(
        lambda n: st.tuples(*[st.lists(st.integers(-3, 3), min_size=n, max_size=n)] * 2)
    )
)
def test_spearman_of_any_ties_is_correctly_rounded(rows):
    x = torch.tensor(rows, dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateInputWarning)
        found = nondet_ext.spearman(x)
    constant = [len(set(row)) == 1 for row in rows]
    for i in range(2):
        for j in range(2):
            if constant[i] or constant[j]:
                assert math.isnan(found[i, j])
            else:
                assert_nearest_spearman(found[i : i + 1, j : j + 1], x[i : i + 1], x[j : j + 1])
                assert -1 <= found[i, j] <= 1


def exact_pearson(x, y):
    """Return the covariance and both variances, not divided by n, as exact fractions of the
    floats.
    """
    u, v = [Fraction(float(each)) for each in x], [Fraction(float(each)) for each in y]
    mean_u, mean_v = sum(u) / len(u), sum(v) / len(v)
    u, v = [each - mean_u for each in u], [each - mean_v for each in v]
    return [sum(a * b for a, b in zip(p, q, strict=True)) for p, q in ((u, v), (u, u), (v, v))]


@pytest.mark.parametrize("scale", [1.0, 1e300, 1e-300, 5e-324])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_pearson_within_its_bound(scale, offset):
    rng = np.random.default_rng(3)
    values = np.exp(2 * rng.standard_normal((3, 60)))
    values = np.round(values) * scale if scale < 1e-310 else (values + offset) * scale
    found = nondet_ext.pearson(torch.from_numpy(values))
    deviations = np.abs(values / values.max(1, keepdims=True))
    deviations = np.abs(deviations - deviations.mean(1, keepdims=True))
    peak = (deviations.max(1) / np.sqrt((deviations**2).mean(1))).max()
    for i in range(3):
        for j in range(3):
            covariance, a, b = exact_pearson(values[i], values[j])
            with_bits = 10**40  # the root of a fraction, to 40 digits
            root = Fraction(math.isqrt(int(a * b * with_bits**2 * 10**1300)), with_bits)
            root = root / Fraction(10**650)
            error = abs(Fraction(float(found[i, j])) - covariance / root)
            assert error <= 2.0**-52 * peak
    assert torch.equal(found, found.T)
    assert torch.equal(found.diagonal(), torch.ones(3, dtype=torch.float64))


def deviations_as_integers(row):
    """Compute the integers of docs/numerics.md, "Pearson's r", with Python's fractions."""
    exponent = math.frexp(max(map(abs, row)))[1]
    scaled = [math.ldexp(value, -exponent) for value in row]
    mean = float(sum(map(Fraction, scaled)) / len(row))
    deviations = [value - mean for value in scaled]
    unit = Fraction(2) ** (53 - math.frexp(max(map(abs, deviations)))[1])
    return [round(Fraction(deviation) * unit) for deviation in deviations]


def test_pearson_is_the_specified_number():
    values = np.exp(3 * np.random.default_rng(8).standard_normal((24, 7)))
    found = nondet_ext.pearson(torch.from_numpy(values))
    rows = [deviations_as_integers(row) for row in values.tolist()]

    def product(q, s):
        return len(q) * sum(a * b for a, b in zip(q, s, strict=True)) - sum(q) * sum(s)

    for i, q in enumerate(rows):
        for j, s in enumerate(rows):
            assert is_nearest(float(found[i, j]), product(q, s), product(q, q), product(s, s))


def test_pearson_ignores_powers_of_two():
    x = sample((3, 1000), 0.0).double()
    found = nondet_ext.pearson(x)
    assert torch.equal(nondet_ext.pearson(x * 2.0**-900), found)
    assert torch.equal(nondet_ext.pearson(x, -x * 2.0**90), -found)


def test_missing_values():
    x = sample((5, 40), 0.5)
    x[1, 3] = x[3, 7] = torch.nan
    x[4, 3] = torch.nan
    for name, reference in (("spearman", scipy.stats.spearmanr), ("pearson", scipy.stats.pearsonr)):
        correlate = getattr(nondet_ext, name)
        with pytest.raises(ValueError, match=r"x has NaN.* in row 1 at position 3"):
            correlate(x)
        with pytest.raises(ValueError, match=r"y has NaN.* in row 1 at position 7"):
            correlate(x[:1], x[2:])
        clean = correlate(x[[0, 2]])
        propagated = correlate(x, nan_policy="propagate")
        assert torch.equal(propagated[[0, 2]][:, [0, 2]], clean)
        assert propagated.isnan().sum() == 25 - 4
        omitted = correlate(x, nan_policy="omit")
        assert torch.equal(omitted[[0, 2]][:, [0, 2]], clean)
        assert torch.equal(omitted, omitted.T)
        for i in range(5):
            for j in range(5):
                both = ~(x[i].isnan() | x[j].isnan())
                expected = reference(x[i, both].numpy(), x[j, both].numpy()).statistic
                assert float(omitted[i, j]) == pytest.approx(expected, abs=1e-6)
        assert torch.equal(correlate(x, x[:3], nan_policy="omit"), omitted[:, :3])


def test_pairs_with_too_few_values_are_nan():
    x = torch.tensor([[1.0, 2.0, torch.nan, torch.nan], [torch.nan, 1.0, 2.0, 3.0]])
    assert nondet_ext.spearman(x, nan_policy="omit").isnan().tolist() == [
        [False, True],
        [True, False],
    ]


def test_infinities_are_ranked_and_have_no_deviation():
    x = torch.tensor([[1.0, 2.0, 3.0, torch.inf], [-torch.inf, 2.0, 1.0, 5.0]])
    assert nondet_ext.spearman(x)[0, 1] == pytest.approx(0.8)
    with pytest.raises(ValueError, match="x has NaN or infinity in row 0 at position 3"):
        nondet_ext.pearson(x)
    assert nondet_ext.pearson(x, nan_policy="propagate").isnan().all()


@pytest.mark.parametrize("name", ["spearman", "pearson"])
def test_constant_rows_are_named(name):
    correlate = getattr(nondet_ext, name)
    x = sample((4, 30), 0.0)
    x[1], x[3] = 0.1, -7.0
    with pytest.warns(DegenerateInputWarning, match="x has constant rows.*: 1, 3"):
        found = correlate(x)
    assert found.isnan().sum() == 16 - 4
    assert torch.equal(found[[0, 2]][:, [0, 2]], correlate(x[[0, 2]]))
    with pytest.warns(DegenerateInputWarning, match="y has constant rows.*: 0$"):
        found = correlate(x[[0, 2]], x[1:2])
    assert found.isnan().all()


def test_results_have_no_gradient_and_no_uncovered_op():
    x = sample((3, 50), 0.0).requires_grad_()
    with nondet_ext.ordered("fixed") as scope:
        found = nondet_ext.spearman(x)
        nondet_ext.pearson(x)
    assert not found.requires_grad
    assert not scope.uncovered
    assert torch.equal(found, nondet_ext.spearman(x))


MATRIX = torch.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        ([[1.0, 2.0]], None, TypeError, r"x must be a torch\.Tensor, got list"),
        (MATRIX.to(torch.complex64), None, TypeError, "x must be a dense"),
        (MATRIX[0], None, ValueError, r"x must have at least two dimensions, got \(3,\)"),
        (MATRIX[:, :1], None, ValueError, r"two values a row, got \(2, 1\)"),
        (MATRIX[:0], None, ValueError, r"at least one row.* got \(0, 3\)"),
        (MATRIX, MATRIX[:, :2], ValueError, "equal length, got 3 and 2"),
        (MATRIX, MATRIX.to("meta"), ValueError, "on one device, got cpu and meta"),
    ],
)
@pytest.mark.parametrize("name", ["spearman", "pearson"])
def test_bad_input_is_refused(name, x, y, error, message):
    with pytest.raises(error, match=message):
        getattr(nondet_ext, name)(x, y)


@pytest.mark.parametrize("name", ["spearman", "pearson"])
def test_unknown_policy_is_refused(name):
    with pytest.raises(ValueError, match="'raise', 'propagate' or 'omit', got 'drop'"):
        getattr(nondet_ext, name)(MATRIX, nan_policy="drop")
