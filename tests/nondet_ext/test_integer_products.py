"""Compare exact inner products of integers and their quotients with Python's integers."""

import math
import random
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nondet_ext import _backend
from nondet_ext._integer_products import IntegerProducts
from nondet_ext._quotients import correlations
from references.quotients import is_nearest

BOUNDS = [1, 1000, 5_931_641, 5_931_642, 2**31 - 1, 2**31, 2**46, 2**53, 2**53 + 1, 2**63 - 1]


def integers(rng, rows, n, bound):
    """Return random rows within the bound; every value of the last row equals the bound, so its
    square is as large as it can be.
    """
    values = [[rng.randint(-bound, bound) for _ in range(n)] for _ in range(rows - 1)]
    return [*values, [bound] * n]


def products(a, b):
    return [[sum(u * v for u, v in zip(x, y, strict=True)) for y in b] for x in a]


@pytest.mark.parametrize("bound", BOUNDS)
def test_products_squares_and_sums_are_exact(bound):
    rng = random.Random(bound)
    n = 700
    left, right = integers(rng, 3, n, bound), integers(rng, 2, n, bound)
    dtype = torch.float64 if bound <= 2**53 else torch.int64
    x, y = (torch.tensor(rows, dtype=dtype) for rows in (left, right))

    pairs = IntegerProducts(3, 2, bound, with_sums=True)
    pairs.add(x[:, :301], y[:, :301])
    pairs.add(x[:, 301:], y[:, 301:])
    assert pairs.totals().tolist() == products(left, right)
    assert [each.tolist() for each in pairs.squares()] == [
        [sum(v * v for v in row) for row in rows] for rows in (left, right)
    ]
    assert [each.tolist() for each in pairs.sums()] == [
        [sum(row) for row in rows] for rows in (left, right)
    ]

    own = IntegerProducts(3, None, bound)
    own.add(x)
    assert own.totals().tolist() == products(left, left)
    assert own.squares()[0].tolist() == pairs.squares()[0].tolist()


def test_chunks_add_up_beyond_64_bits():
    bound, n = 2**53, 5000
    products = IntegerProducts(1, None, bound, with_sums=True)
    row = torch.full((1, n), float(bound), dtype=torch.float64)
    for _ in range(700):  # so many additions overflow unless carries are propagated in between
        products.add(row)
    assert products.totals().tolist() == [[700 * n * bound**2]]
    assert products.sums()[0].tolist() == [700 * n * bound]


def test_totals_are_carried_in_time():
    """Sums of chunks close to 2^53 each are exact beyond 2^63."""
    bound, n = 3_000_000, 1000
    products = IntegerProducts(1, None, bound)
    for _ in range(1100):
        products.add(torch.full((1, n), float(bound), dtype=torch.float64))
    assert products.limbs == 1
    assert 2**63 < products.totals()[0, 0] == 1100 * n * bound**2


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_blocks_any_state_one_result(data):
    bound = data.draw(st.sampled_from(BOUNDS))
    rows = data.draw(st.lists(st.lists(st.integers(-bound, bound), min_size=7, max_size=7),
                              min_size=1, max_size=4))  # fmt: skip
    cuts = sorted(data.draw(st.lists(st.integers(0, 7), max_size=3)))
    x = torch.tensor(rows, dtype=torch.float64 if bound <= 2**53 else torch.int64)
    block = IntegerProducts(len(rows), None, bound, with_sums=data.draw(st.booleans()))
    for begin, end in zip([0, *cuts], [*cuts, 7], strict=True):
        block.add(x[:, begin:end])
        block = IntegerProducts.restore(block.state())
    assert block.columns == 7
    assert block.totals().tolist() == products(rows, rows)


@pytest.mark.parametrize("bound", [0, 2**63 + 1])
def test_bounds_that_int64_cannot_hold_are_refused(bound):
    with pytest.raises(ValueError, match=rf"bound must be in \[1, 2\^63\], got {bound}"):
        IntegerProducts(1, None, bound)


@pytest.mark.parametrize("bits", [3, 30, 52, 53, 62, 63, 80, 104])
def test_quotients_are_correctly_rounded(bits):
    rng = random.Random(bits)
    left = [rng.randint(1, 2**bits) for _ in range(12)]
    right = [rng.randint(1, 2 ** rng.randint(1, bits)) for _ in range(12)]
    wanted = np.array(
        [
            [
                rng.randint(-math.isqrt(a * b), math.isqrt(a * b)) >> rng.randint(0, bits)
                for b in right
            ]
            for a in left
        ],
        dtype=object,
    )
    if bits <= 62:
        wanted = wanted.astype(np.int64)
    found = correlations(wanted, np.array(left, dtype=object), np.array(right, dtype=object))
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            assert is_nearest(found[i, j], int(wanted[i, j]), a, b)


def test_quotients_in_the_middle_of_two_floats():
    """Quotients halfway between two floats, or closer to halfway than twice the precision can tell,
    are rounded correctly.
    """
    denominator = 2**54  # c / 2^54 with an odd c is the middle between two floats near 1/2 .. 1
    numerators = [2**53 + 1, 2**53 + 3, 2**53 + 5, 2**54 - 1, 2**54 - 3]
    squares = np.array([denominator], dtype=object)
    for c in numerators:
        found = correlations(np.array([[c]], dtype=object), squares, squares)
        assert found[0, 0] == float(Fraction(c, denominator))  # ties to even
        # Quotients above and below the middle by a relative 2^-98 or 2^-113.
        for scale, nudge, direction in (
            (2**45, 1, 1),
            (2**45, -1, -1),
            (2**60, 1, 1),
            (2**60, -1, -1),
        ):
            top = np.array([[c * scale + nudge]], dtype=object)
            wide = np.array([denominator * scale], dtype=object)
            found = correlations(top, wide, wide)[0, 0]
            assert found == float(Fraction(c * scale + nudge, denominator * scale))
            assert (found > Fraction(c, denominator)) == (direction > 0)


def test_zero_squares_give_nan_and_zero_products_zero():
    zero, one = np.array([0, 4]), np.array([9])
    found = correlations(np.array([[0], [0]]), zero, one)
    assert np.isnan(found[0, 0])
    assert found[1, 0] == 0


@pytest.mark.parametrize("bound", [2**46 - 1, 2**47, 2**50 + 1, 2**53])
@pytest.mark.parametrize("n", [1, 511, 512, 5000])
@pytest.mark.parametrize("rows", [(1, 1), (4, 3), (9, 5), (2, 11)])
def test_three_limbs_in_a_kernel_equal_matrix_products(backend, monkeypatch, rows, n, bound):
    rng = np.random.default_rng(n)
    x, y = (rng.integers(-bound, bound, (r, n), endpoint=True).astype(float) for r in rows)
    x[-1], y[0] = bound, -bound  # the largest sums
    left, right = torch.from_numpy(x)[:, : n - n // 3], torch.from_numpy(y)[:, : n - n // 3]
    for other in (None, right):
        states = []
        for most_rows in (512, 0):
            monkeypatch.setattr("nondet_ext._integer_products._MOST_ROWS", most_rows)
            size = None if other is None else rows[1]
            made = IntegerProducts(rows[0], size, bound, with_sums=True)
            for threads in (1, 3):
                monkeypatch.setattr(_backend, "cpu_threads", lambda threads=threads: threads)
                made.add(left, other)
            states.append(made)
        for ours, plain in zip(states[0]._all(), states[1]._all(), strict=True):
            assert np.array_equal(ours.value(), plain.value())
        if n < 1000 or rows == (4, 3):
            a, b = left.long().tolist(), (left if other is None else right).long().tolist()
            assert (states[0].totals() == 2 * np.array(products(a, b), dtype=object)).all()
