"""Compare the exact order with math.fsum and with rational numbers, bit for bit."""

import functools
import itertools
import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nondet_ext
from factories.floats import FORMATS, Format
from factories.samples import EVERY_FORMAT, check, finite_bits, gathered, mixed, to_numpy, to_torch
from nondet_ext import reference

cpu = pytest.mark.usefixtures("cpu_isa")
everywhere = pytest.mark.usefixtures("backend")

PRECISION = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}


@pytest.fixture(params=EVERY_FORMAT)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def fmt(name: str) -> Format:
    return FORMATS[name]


def exact(values: object, fmt: Format) -> torch.Tensor:
    return nondet_ext.sum(to_torch(np.asarray(values, fmt.numpy_dtype), fmt), order="exact")


def test_the_reference_rounds_as_numpy_and_ml_dtypes_do(fmt):
    rng = np.random.default_rng(1)
    doubles = finite_bits(FORMATS["float64"], rng, 300)
    near = finite_bits(fmt, rng, 3000).astype(np.float64)
    wider = near * (1 + rng.choice([0, 2.0**-12, -(2.0**-25), 2.0**-52], 3000))
    with np.errstate(all="ignore"):
        wider = np.concatenate([wider, doubles])
        wider = wider[np.isfinite(wider)]
        if fmt is FORMATS["bfloat16"]:  # ml_dtypes goes through float32
            wider = wider.astype(np.float32).astype(np.float64)
            wider = wider[np.isfinite(wider)]
        expected = wider.astype(fmt.numpy_dtype)
    got = [reference.round_once(Fraction(value), fmt.numpy_dtype) for value in wider.tolist()]
    nonzero = wider != 0  # a rational zero has no sign
    check(to_torch(np.array(got)[nonzero], fmt), expected[nonzero], fmt)


@cpu
def test_every_size_to_5000_is_fsum():
    values = mixed(FORMATS["float64"], 5_000, 1, spread=30.0)
    x = torch.from_numpy(values)
    listed = values.tolist()
    got = torch.stack([nondet_ext.sum(x[:n], order="exact") for n in range(5_001)])
    expected = [math.fsum(listed[:n]) for n in range(5_001)]
    check(got, np.array(expected), FORMATS["float64"])


@everywhere
def test_sizes_around_blocks_over_the_whole_range(fmt):
    rng = np.random.default_rng(2)
    for n in [0, 1, 2, 3, 7, 8, 9, 31, 33, 64, 127, 255, 257, 1000, 1025, 2500]:
        values, others = finite_bits(fmt, rng, n), finite_bits(fmt, rng, n)
        x, y = to_torch(values, fmt), to_torch(others, fmt)
        check(nondet_ext.sum(x, order="exact"), reference.exact_sum(values), fmt)
        check(nondet_ext.dot(x, y, order="exact"), reference.exact_dot(values, others), fmt)
        if n:
            mean = reference.exact_sum(values, n)
            check(nondet_ext.mean(x, order="exact"), mean, fmt)


@functools.cache
def large(name: str, spread: float) -> tuple[np.ndarray, object, object, object]:
    values = mixed(FORMATS[name], 150_001, 3, spread)
    total, mean = reference.exact_sum(values), reference.exact_sum(values, 150_001)
    return values, total, mean, reference.exact_dot(values[:50_001], values[50_000:100_001])


@cpu
@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("spread", [0.5, 6.0, 60.0])
def test_large_sizes_for_1_to_8_threads(name, fmt, spread):
    values, total, mean, dot = large(name, spread)
    x = to_torch(values, fmt)
    if name == "float64":
        assert total == math.fsum(values.tolist())
    for threads in range(1, 9):
        torch.set_num_threads(threads)
        check(nondet_ext.sum(x, order="exact"), total, fmt)
        check(nondet_ext.mean(x, order="exact"), mean, fmt)
        check(nondet_ext.dot(x[:50_001], x[50_000:100_001], order="exact"), dot, fmt)


@everywhere
@given(data=st.data())
def test_any_few_values(data):
    fmt = FORMATS[data.draw(st.sampled_from(EVERY_FORMAT))]
    n = data.draw(st.integers(0, 12))
    pool = np.concatenate([fmt.special_bits, fmt.random_bits(np.random.default_rng(4), 40)])
    if data.draw(st.booleans()):
        with np.errstate(invalid="ignore"):  # ml_dtypes warns of signalling NaNs
            pool = pool[np.isfinite(fmt.array(pool))]
    draw = st.lists(st.sampled_from(pool.tolist()), min_size=n, max_size=n)
    a, b = (fmt.array(np.array(data.draw(draw), dtype=fmt.uint)) for _ in range(2))
    x, y = to_torch(a, fmt), to_torch(b, fmt)
    check(nondet_ext.sum(x, order="exact"), reference.exact_sum(a), fmt)
    check(nondet_ext.dot(x, y, order="exact"), reference.exact_dot(a, b), fmt)
    if n:
        check(nondet_ext.mean(x, order="exact"), reference.exact_sum(a, n), fmt)


@everywhere
def test_ties_go_to_even_and_the_smallest_value_breaks_them(name, fmt):
    half_unit = 2.0 ** -PRECISION[name]
    unit = 2 * half_unit
    tiny = float(ml_dtypes.finfo(fmt.numpy_dtype).smallest_subnormal)
    for sign in (1, -1):
        for values, expected in [
            ([1, half_unit], 1),
            ([1 + unit, half_unit], 1 + 2 * unit),
            ([1, half_unit, tiny], 1 + unit),
            ([1, half_unit, -tiny], 1),
            ([1 + unit, half_unit, -tiny], 1 + unit),
            ([1 + unit, half_unit, tiny], 1 + 2 * unit),
            ([2, -half_unit], 2),
            ([2, -half_unit, -tiny], 2 - unit),
        ]:
            array = np.array([sign * value for value in values], fmt.numpy_dtype)
            check(to_torch(np.array(reference.exact_sum(array)), fmt), sign * expected, fmt)
            for order in itertools.permutations(range(len(array))):
                check(exact(array[list(order)], fmt), sign * expected, fmt)


@everywhere
def test_overflow(name, fmt):
    largest = float(ml_dtypes.finfo(fmt.numpy_dtype).max)
    half_unit = largest / (2.0 ** PRECISION[name] - 1) / 2
    tiny = float(ml_dtypes.finfo(fmt.numpy_dtype).smallest_subnormal)
    for sign in (1, -1):
        for values, expected in [
            ([largest, largest, -largest], largest),
            ([largest] * 900 + [-largest] * 899, largest),
            ([largest] * 900 + [-largest] * 900, 0.0),
            ([largest, largest], math.inf),
            ([largest, half_unit], math.inf),
            ([largest, half_unit, -tiny], largest),
            ([math.inf, -largest, -largest], math.inf),
            ([-largest, -largest, largest], -largest),
        ]:
            array = np.array([sign * value for value in values], fmt.numpy_dtype)
            check(exact(array, fmt), sign * expected + 0.0, fmt)
        mean = to_torch(np.full(1000, sign * largest, fmt.numpy_dtype), fmt)
        check(nondet_ext.mean(mean, order="exact"), sign * largest, fmt)


@everywhere
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], 0.0),
        ([-0.0], 0.0),
        ([-0.0, -0.0], 0.0),
        ([1.5, -1.5], 0.0),
        ([-1.5, -0.0, 1.5], 0.0),
        ([math.inf], math.inf),
        ([-math.inf, 1.0, -math.inf], -math.inf),
        ([math.inf, 1.0, -math.inf], math.nan),
        ([math.nan, 1.0], math.nan),
        ([math.nan, math.inf], math.nan),
    ],
)
def test_zeros_infinities_and_nans(fmt, values, expected):
    check(exact(values, fmt), expected, fmt)
    rows = to_torch(np.array([values] * 3, fmt.numpy_dtype), fmt)
    check(nondet_ext.sum(rows, 1, order="exact"), [expected] * 3, fmt)
    # The special values also come among ordinary ones.
    among = np.concatenate([np.ones(700), values, -np.ones(700)])
    check(exact(among, fmt), expected, fmt)


@everywhere
def test_products_that_no_product_of_floats_shows(fmt):
    info = ml_dtypes.finfo(fmt.numpy_dtype)
    largest, tiny = float(info.max), float(info.smallest_subnormal)
    for a, b, expected in [
        ([largest, -largest, 1], [largest, largest, 2], 2.0),  # overflows on the way
        ([tiny] * 4 + [1], [tiny, tiny, -tiny, -tiny, tiny], tiny),
        ([tiny, -tiny], [tiny, 0.0], 0.0),  # underflows to +0
        ([-tiny], [tiny], -0.0),
        ([0.0], [-1.0], 0.0),
        ([math.inf, 1.0], [0.0, 1.0], math.nan),
        ([math.inf, 1.0], [-1.0, 1.0], -math.inf),
    ]:
        x, y = (to_torch(np.array(each, fmt.numpy_dtype), fmt) for each in (a, b))
        check(nondet_ext.dot(x, y, order="exact"), expected, fmt)


@everywhere
def test_cancellation(name, fmt):
    rng = np.random.default_rng(5)
    values = mixed(fmt, 700, 6, spread=20.0)
    rest = mixed(fmt, 3, 7)
    for _ in range(4):
        array = rng.permutation(np.concatenate([values, -values, rest]))
        expected = sum((Fraction(float(each)) for each in rest), Fraction(0))
        check(exact(array, fmt), reference.round_once(expected, fmt.numpy_dtype), fmt)
    # The fixed order loses the rest, which shows that the inputs do cancel.
    assert nondet_ext.sum(to_torch(array, fmt)).item() != exact(array, fmt).item()


@cpu
@pytest.mark.usefixtures("threads")
def test_permutations_and_splits_change_nothing(fmt):
    rng = np.random.default_rng(8)
    values = finite_bits(fmt, rng, 5_040)
    x = to_torch(values, fmt)
    expected = reference.exact_sum(values)
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        for shape in [(5_040,), (2, 2_520), (70, 72), (7, 6, 5, 4, 3, 2)]:
            shuffled = x[torch.from_numpy(rng.permutation(5_040))].reshape(shape)
            check(nondet_ext.sum(shuffled, order="exact"), expected, fmt)
            check(nondet_ext.sum(shuffled.transpose(0, -1), order="exact"), expected, fmt)
        check(nondet_ext.accumulate(x, order="exact"), expected, fmt)
        got = nondet_ext.segment_sum(x, torch.tensor([0, 5_040]), order="exact")
        check(got, [expected], fmt)


@everywhere
@pytest.mark.parametrize(
    ("shape", "dims"),
    [((300, 3), 0), ((40, 50), 0), ((40, 50), 1), ((4, 5, 6, 7), (0, 2)), ((2, 3, 9), (1,))],
)
def test_layouts(fmt, shape, dims):
    values = finite_bits(fmt, np.random.default_rng(9), math.prod(shape)).reshape(shape)
    x = to_torch(values, fmt)
    for view in (x, torch.flip(x, (0,)), x.transpose(0, 1), x[1:, ::2]):
        rows = gathered(to_numpy(view, fmt), dims if isinstance(dims, tuple) else (dims,))
        expected = np.array([reference.exact_sum(row) for row in rows.reshape(-1, rows.shape[-1])])
        check(nondet_ext.sum(view, dims, order="exact").reshape(-1), expected, fmt)
        count = rows.shape[-1]
        expected = [reference.exact_sum(row, count) for row in rows.reshape(-1, count)]
        check(nondet_ext.mean(view, dims, order="exact").reshape(-1), np.array(expected), fmt)


@everywhere
def test_segments(fmt):
    values = finite_bits(fmt, np.random.default_rng(10), 900).reshape(300, 3)
    bounds = [0, 1, 1, 40, 300, 300]
    got = nondet_ext.segment_sum(to_torch(values, fmt), torch.tensor(bounds), order="exact")
    expected = [
        [reference.exact_sum(column) for column in values[a:b].T]
        for a, b in itertools.pairwise(bounds)
    ]
    check(got, np.array(expected), fmt)
