"""Compare the fixed order with nondet_ext.reference, bit for bit, for every size, dtype,
instruction set, layout and number of threads.
"""

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nondet_ext
from factories.floats import FORMATS, Format
from factories.samples import EVERY_FORMAT, check, finite_bits, gathered, mixed, to_numpy, to_torch
from nondet_ext import reference

# Emulated CUDA is slow: only tests with the fixture `backend` run there.
cpu = pytest.mark.usefixtures("cpu_isa")
everywhere = pytest.mark.usefixtures("backend")

EDGES = [
    0,
    1,
    2,
    31,
    32,
    33,
    63,
    64,
    65,
    1023,
    1024,
    1025,
    1055,
    1056,
    1057,
    2047,
    2048,
    2049,
    4999,
]


@pytest.fixture(params=EVERY_FORMAT)
def fmt(request: pytest.FixtureRequest) -> Format:
    return FORMATS[request.param]


@functools.cache
def every_size(name: str) -> tuple[np.ndarray, list[slice], list[object]]:
    values = mixed(FORMATS[name], 5_010, 1)
    slices = [slice(n % 7, n % 7 + n) for n in range(5_001)]  # at different alignments
    return values, slices, [reference.fixed_sum(values[each]) for each in slices]


@cpu
def test_every_size_to_5000(fmt):
    values, slices, expected = every_size(str(fmt.torch_dtype).removeprefix("torch."))
    x = to_torch(values, fmt)
    got = torch.stack([nondet_ext.sum(x[each]) for each in slices])
    check(got, np.array(expected), fmt)


@everywhere
def test_sizes_around_lanes_and_tiles(fmt):
    for n in EDGES:
        values, others = mixed(fmt, n, 2), mixed(fmt, n, 3)
        x, y = to_torch(values, fmt), to_torch(others, fmt)
        check(nondet_ext.sum(x), reference.fixed_sum(values), fmt)
        check(nondet_ext.mean(x), reference.fixed_mean(values), fmt)
        check(nondet_ext.dot(x, y), reference.fixed_dot(values, others), fmt)


@functools.cache
def large(name: str, n: int) -> tuple[np.ndarray, object]:
    values = mixed(FORMATS[name], n, n)
    return values, reference.fixed_sum(values)


@cpu
@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("name", EVERY_FORMAT)
@pytest.mark.parametrize("n", [1_048_577, 3_414_213])
def test_large_sizes_for_1_to_8_threads(name, n):
    fmt = FORMATS[name]
    values, expected = large(name, n)
    x = to_torch(values, fmt)
    for threads in range(1, 9):
        torch.set_num_threads(threads)
        check(nondet_ext.sum(x), expected, fmt)


@cpu
@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(("name", "n"), [("float32", 9_876_543), ("float64", 7_071_067)])
def test_sizes_to_1e7(name, n):
    values, expected = large(name, n)
    x = torch.from_numpy(values)
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        check(nondet_ext.sum(x), expected, FORMATS[name])


@cpu
@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        ((3, 200_001), (1,)),
        ((200_001, 3), (0,)),
        ((40_001, 16), (0,)),
        ((700, 900), (0,)),
        ((700, 900), (1,)),
        ((9, 33, 50, 50), (0, 2, 3)),
        ((9, 33, 50, 50), (0, 1, 2)),
    ],
)
def test_threads_in_every_shape(shape, dims):
    for name in ("float32", "bfloat16"):
        fmt = FORMATS[name]
        values = mixed(fmt, shape, 4)
        expected = reference.fixed_sum(gathered(values, dims))
        x = to_torch(values, fmt)
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            check(nondet_ext.sum(x, dims), expected, fmt)


@cpu
@pytest.mark.usefixtures("threads")
def test_threads_in_mean_dot_and_segment_sum(fmt):
    values, others = mixed(fmt, 700_001, 5), mixed(fmt, 700_001, 6)
    x, y = to_torch(values, fmt), to_torch(others, fmt)
    bounds = [0, 5, 5, 300_000, 300_001, 302_049, 700_001]
    segments = [reference.fixed_sum(values[a:b]) for a, b in itertools.pairwise(bounds)]
    mean, dot = reference.fixed_mean(values), reference.fixed_dot(values, others)
    for threads in range(1, 9):
        torch.set_num_threads(threads)
        check(nondet_ext.mean(x), mean, fmt)
        check(nondet_ext.dot(x, y), dot, fmt)
        check(nondet_ext.segment_sum(x, torch.tensor(bounds)), np.array(segments), fmt)


LAYOUTS = {
    "contiguous": lambda x: x.contiguous(),
    "transposed": lambda x: x.permute(4, 2, 0, 3, 1),
    "channels last": lambda x: x.permute(0, 4, 1, 2, 3).contiguous().permute(0, 2, 3, 4, 1),
    "sliced": lambda x: x[1:, ::2, :, 1::3],
    "flipped": lambda x: torch.flip(x, (1, 3)),
    "expanded": lambda x: x[:, :1, :, 2:3].expand(-1, 4, -1, 5, -1),
    "windows": lambda x: x.as_strided((3, 4, 5, 6, 7), (1, 2, 3, 1, 2)),
}


@everywhere
@pytest.mark.parametrize("layout", list(LAYOUTS))
@pytest.mark.parametrize("name", ["float32", "float16"])
def test_every_choice_of_dims_in_every_layout(layout, name):
    fmt = FORMATS[name]
    x = LAYOUTS[layout](to_torch(mixed(fmt, (3, 4, 5, 6, 7), 7), fmt))
    values = to_numpy(x, fmt)
    for count in range(1, 6):
        for dims in itertools.combinations(range(5), count):
            expected = reference.fixed_sum(gathered(values, dims))
            got = nondet_ext.sum(x, [d - 5 for d in reversed(dims)], keepdim=True)
            assert tuple(got.shape) == tuple(1 if d in dims else x.shape[d] for d in range(5))
            check(got.reshape(np.shape(expected)), expected, fmt)


@cpu
@given(data=st.data())
def test_any_layout(data):
    fmt = FORMATS[data.draw(st.sampled_from(EVERY_FORMAT))]
    ndim = data.draw(st.integers(0, 5))
    shape = data.draw(st.lists(st.integers(0, 9), min_size=ndim, max_size=ndim))
    x = to_torch(mixed(fmt, shape, data.draw(st.integers(0, 99))), fmt)
    x = x.permute(data.draw(st.permutations(range(ndim))))
    for d in range(ndim):
        start, step = data.draw(st.integers(0, 2)), data.draw(st.integers(1, 3))
        x = x[(slice(None),) * d + (slice(start, None, step),)]
        if x.shape[d] == 1 and data.draw(st.booleans()):
            x = x.expand(*x.shape[:d], 40, *x.shape[d + 1 :])
    dims = [d - ndim * data.draw(st.booleans()) for d in range(ndim) if data.draw(st.booleans())]
    reduced = [d % ndim for d in dims] or list(range(ndim))
    rows = gathered(to_numpy(x, fmt), reduced)
    check(nondet_ext.sum(x, dims), reference.fixed_sum(rows), fmt)
    check(nondet_ext.mean(x, tuple(dims)), reference.fixed_mean(rows), fmt)


@everywhere
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (50, 1), (1500, 1), (700, 3), (40, 70)])
def test_segments_and_partials_follow_the_rule_of_sum(fmt, rows, columns):
    values = mixed(fmt, (rows, columns), 8)
    x = to_torch(values, fmt)
    bounds = [0, 0, rows // 3, rows // 2, rows // 2, rows]
    expected = [reference.fixed_sum(values[a:b].T) for a, b in itertools.pairwise(bounds)]
    for dtype in (torch.int64, torch.int32):
        got = nondet_ext.segment_sum(x, torch.tensor(bounds, dtype=dtype))
        check(got, np.array(expected), fmt)
    total = reference.fixed_sum(values.T)
    check(nondet_ext.accumulate(x), total, fmt)
    check(nondet_ext.accumulate(list(x)), total, fmt)


@everywhere
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], 0.0),
        ([-0.0], -0.0),
        ([-0.0] * 1025, -0.0),
        ([0.0, -0.0], 0.0),
        ([1.0, -1.0], 0.0),
        ([math.inf, 1.0], math.inf),
        ([math.inf, -math.inf], math.nan),
        ([math.nan, 1.0], math.nan),
    ],
)
def test_special_values(fmt, values, expected):
    array = np.array(values, dtype=fmt.numpy_dtype)
    check(nondet_ext.sum(to_torch(array, fmt)), expected, fmt)
    check(to_torch(np.array(reference.fixed_sum(array)), fmt), expected, fmt)
    check(nondet_ext.sum(to_torch(array, fmt).repeat(3, 1), 1), [expected] * 3, fmt)


@cpu
def test_the_whole_range_of_values(fmt):
    rng = np.random.default_rng(9)
    for n in (2, 33, 1500):
        values = finite_bits(fmt, rng, 10 * n).reshape(10, n)
        check(nondet_ext.sum(to_torch(values, fmt), 1), reference.fixed_sum(values), fmt)
        others = finite_bits(fmt, rng, n)
        got = nondet_ext.dot(to_torch(values[0], fmt), to_torch(others, fmt))
        check(got, reference.fixed_dot(values[0], others), fmt)


@everywhere
def test_half_formats_are_added_in_float32_and_rounded_once():
    half = torch.tensor([65504.0, 65504.0, -65504.0], dtype=torch.float16)
    assert nondet_ext.sum(half).item() == 65504.0
    assert nondet_ext.mean(half[:2]).item() == 65504.0
    ones = torch.ones(300, dtype=torch.bfloat16)  # in bfloat16 256 + 1 is 256
    assert nondet_ext.sum(ones).item() == 300.0


def depth(n: int) -> int:
    """Return an upper bound on the number of rounded additions that an element passes through in a
    sum of n.
    """
    return 0 if n <= 1 else 36 + depth(-(-n // 1024))


@cpu
@pytest.mark.parametrize("n", [10, 1000, 30_000, 1_100_000])
def test_error_bound_and_controls(n):
    assert [depth(m) for m in (1, 2, 1024, 1025, 2**20, 2**20 + 1)] == [0, 36, 36, 72, 72, 108]
    values = mixed(FORMATS["float32"], (max(3, 100_000 // n), n), 10)
    x = torch.from_numpy(values)
    fixed = nondet_ext.sum(x, 1)
    assert torch.equal(nondet_ext.sum(x, 1), fixed)
    # |error| <= d u / (1 - d u) * sum of sizes for d additions in a row (Higham 2002, section 4.2).
    unit = depth(n) * 2.0**-24
    for row, got in zip(values.tolist(), fixed.tolist(), strict=True):
        bound = unit / (1 - unit) * math.fsum(map(abs, row))
        assert abs(got - math.fsum(row)) <= bound
    if n >= 1000:  # the order matters: torch's sum and the exact sum have other bits
        assert not torch.equal(x.sum(1), fixed)
        assert not torch.equal(nondet_ext.sum(x, 1, order="exact"), fixed)
