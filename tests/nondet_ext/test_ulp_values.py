"""Compare neighbours, spacing and distances with NumPy and ml_dtypes, bit for bit."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nondet_ext
from factories.floats import FORMATS, Format, assert_same_values, is_nan, nextafter
from factories.threads import threads_of_torch

pytestmark = pytest.mark.usefixtures("backend")

ALL_16_BITS = np.arange(2**16, dtype=np.uint16)
SMALLEST_INT64 = -(2**63)


@pytest.fixture(params=list(FORMATS))
def fmt(request: pytest.FixtureRequest) -> Format:
    return FORMATS[request.param]


def sample_bits(fmt: Format, rng: np.random.Generator, n: int = 20_000) -> np.ndarray:
    """Return all bit patterns of a 16-bit format; special and random bits of a wider format."""
    if fmt.width == 16:
        return ALL_16_BITS
    return np.concatenate([fmt.special_bits, fmt.random_bits(rng, n)])


@pytest.mark.parametrize("up", [True, False])
def test_neighbours_equal_numpy_nextafter(fmt, up):
    bits = sample_bits(fmt, np.random.default_rng(1))
    step = nondet_ext.next_up if up else nondet_ext.next_down
    x = fmt.tensor(bits)
    result = fmt.bits(step(x))
    assert_same_values(result, nextafter(fmt.array(bits), up), fmt)
    np.testing.assert_array_equal(fmt.bits(x), bits)  # the input is unchanged
    nan = is_nan(fmt.array(bits))
    np.testing.assert_array_equal(result[nan], bits[nan])  # NaN payloads are kept


@pytest.mark.parametrize("up", [True, False])
@given(pattern=st.integers(0, 2**64 - 1))
def test_any_bits_of_the_wide_formats(up, pattern):
    step = nondet_ext.next_up if up else nondet_ext.next_down
    for fmt in (FORMATS["float64"], FORMATS["float32"]):
        bits = np.array([pattern % 2**fmt.width], dtype=fmt.uint)
        assert_same_values(fmt.bits(step(fmt.tensor(bits))), nextafter(fmt.array(bits), up), fmt)
        with np.errstate(all="ignore"):
            expected = np.spacing(fmt.array(bits))
        assert_same_values(fmt.bits(nondet_ext.spacing(fmt.tensor(bits))), expected, fmt)


def test_spacing_equals_numpy(fmt):
    bits = sample_bits(fmt, np.random.default_rng(2))
    with np.errstate(all="ignore"):
        expected = np.spacing(fmt.array(bits))
    assert_same_values(fmt.bits(nondet_ext.spacing(fmt.tensor(bits))), expected, fmt)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_distance_counts_values_on_the_sorted_line(name):
    fmt = FORMATS[name]
    with np.errstate(all="ignore"):
        values = fmt.array(ALL_16_BITS).astype(np.float64)
    line = np.unique(values[~np.isnan(values)])  # each value once; -0 and +0 are one value
    number = np.searchsorted(line, values)
    rng = np.random.default_rng(3)
    other = rng.permutation(ALL_16_BITS)
    expected = np.abs(number - number[other])
    expected[np.isnan(values) | np.isnan(values[other])] = SMALLEST_INT64
    distance = nondet_ext.ulp_distance(fmt.tensor(ALL_16_BITS), fmt.tensor(other), nan="propagate")
    assert distance.dtype == torch.int64
    np.testing.assert_array_equal(distance.numpy(), expected)


@pytest.mark.parametrize("name", ["float64", "float32"])
def test_distance_is_the_number_of_nextafter_steps(name):
    fmt = FORMATS[name]
    bits = np.concatenate([fmt.special_bits, fmt.random_bits(np.random.default_rng(4), 500)])
    start = fmt.array(bits)
    start = start[~np.isnan(start)]
    walker = start.copy()
    for step in range(1, 6):
        before = walker
        walker = nextafter(walker, True)
        assert np.array_equal(walker[np.isposinf(before)], before[np.isposinf(before)])
        steps = np.full(len(start), step)
        stuck = np.isposinf(walker)
        a, b = torch.from_numpy(start), torch.from_numpy(walker)
        distance = nondet_ext.ulp_distance(a, b).numpy()
        # -0 and +0 count as one value, so a path from negative to positive is one step shorter.
        crossed = (start < 0) & ((walker > 0) | ((walker == 0) & ~np.signbit(walker)))
        np.testing.assert_array_equal(distance[~stuck & ~crossed], steps[~stuck & ~crossed])
        np.testing.assert_array_equal(nondet_ext.ulp_distance(b, a).numpy(), distance)


@given(pair=st.tuples(st.floats(width=32, allow_nan=False), st.floats(width=32, allow_nan=False)))
def test_distance_of_any_float32_pair_by_integers(pair):
    def place(value: float) -> int:
        size = int(np.abs(np.float32(value)).view(np.uint32))
        return -size if np.signbit(value) else size

    a, b = (torch.tensor([value], dtype=torch.float32) for value in pair)
    assert nondet_ext.ulp_distance(a, b).item() == abs(place(pair[0]) - place(pair[1]))


def test_distance_at_the_edges():
    inf, largest = torch.tensor([torch.inf]), torch.tensor([torch.finfo(torch.float32).max])
    assert nondet_ext.ulp_distance(inf, largest).item() == 1
    assert nondet_ext.ulp_distance(inf, inf).item() == 0
    assert nondet_ext.ulp_distance(torch.tensor([0.0]), torch.tensor([-0.0])).item() == 0
    one, minus_one = torch.ones(1, dtype=torch.float64), -torch.ones(1, dtype=torch.float64)
    assert nondet_ext.ulp_distance(one, minus_one).item() == 2 * int(np.float64(1).view(np.uint64))
    assert nondet_ext.ulp_distance(2 * one, -2 * one).item() == 2**63 - 1  # saturated


def test_distance_refuses_nan_unless_told_otherwise():
    a, b = torch.zeros(2, 3), torch.zeros(2, 3)
    b[1, 1] = torch.nan
    with pytest.raises(ValueError, match=r"first at flat index 4, .*nan='propagate'"):
        nondet_ext.ulp_distance(a, b)
    assert nondet_ext.ulp_distance(a, b, nan="propagate")[1, 1] == SMALLEST_INT64


def test_sizes_around_every_vector_and_block_edge():
    rng = np.random.default_rng(5)
    for name, fmt in FORMATS.items():
        bits = fmt.random_bits(rng, 1100)
        expected_up = np.ascontiguousarray(nextafter(fmt.array(bits), True)).view(fmt.uint)
        nan = is_nan(fmt.array(bits))
        expected_up[nan] = bits[nan]
        for n in [
            0,
            1,
            2,
            3,
            7,
            8,
            9,
            15,
            16,
            17,
            31,
            32,
            33,
            63,
            64,
            65,
            255,
            256,
            257,
            1023,
            1025,
        ]:
            for start in (0, 1, 3):
                x = fmt.tensor(bits)[start : start + n]
                got = fmt.bits(nondet_ext.next_up(x))
                np.testing.assert_array_equal(got, expected_up[start : start + n], err_msg=name)


def test_strides_and_shapes(fmt):
    rng = np.random.default_rng(6)
    base = fmt.tensor(fmt.random_bits(rng, 2 * 3 * 4 * 5)).reshape(2, 3, 4, 5)
    base = torch.where(base.isnan(), torch.zeros((), dtype=base.dtype), base)
    views = {
        "transposed": base.transpose(1, 3),
        "sliced": base[:, ::2, 1:],
        "flipped": base.flip(0),
        "expanded": base[:, :1].expand(2, 6, 4, 5),
        "channels_last": base.contiguous(memory_format=torch.channels_last),
        "0-d": base[0, 0, 0, 0],
        "empty": base[:0],
    }
    for name, x in views.items():
        expected = nextafter(fmt.array(fmt.bits(x)), True)
        result = nondet_ext.next_up(x)
        assert result.shape == x.shape, name
        assert result.stride() == torch.empty_like(x).stride(), name
        assert_same_values(fmt.bits(result), expected.reshape(x.shape), fmt)
        distance = nondet_ext.ulp_distance(x, result)
        assert distance.shape == x.shape
        assert bool(((distance == 1) | (x == torch.inf)).all()), name


def test_distance_broadcasts():
    a, b = torch.randn(4, 1), torch.randn(3)
    distance = nondet_ext.ulp_distance(a, b)
    assert distance.shape == (4, 3)
    for i in range(4):
        for j in range(3):
            assert distance[i, j] == nondet_ext.ulp_distance(a[i], b[j : j + 1]).item()


def test_out_argument(fmt):
    x = fmt.tensor(sample_bits(fmt, np.random.default_rng(7), 1000))
    expected = fmt.bits(nondet_ext.next_up(x))
    out = torch.zeros_like(x)
    assert nondet_ext.next_up(x, out=out) is out
    np.testing.assert_array_equal(fmt.bits(out), expected)
    assert nondet_ext.next_up(x, out=x) is x  # in place
    np.testing.assert_array_equal(fmt.bits(x), expected)
    with pytest.raises(ValueError, match="out must have the shape, dtype, device and strides"):
        nondet_ext.next_up(x, out=out[1:])
    with pytest.raises(ValueError, match="strides"):
        nondet_ext.next_up(x[::2], out=out[::2])


def test_out_may_not_overlap_a_part_of_the_input():
    x = torch.zeros(10)
    with pytest.raises(ValueError, match="out overlaps x in memory"):
        nondet_ext.next_up(x[:-1], out=x[1:])
    assert not bool(x.any())
    nondet_ext.next_up(x[:5], out=x[5:])
    assert x.view(torch.int32).tolist() == [0] * 5 + [1] * 5
    with pytest.raises(ValueError, match="out overlaps b in memory"):
        nondet_ext.ulp_distance(torch.ones(5), x[:5], out=x.view(torch.int64))


def test_distance_out_argument():
    a, b = torch.randn(4, 1), torch.randn(3)
    out = torch.zeros(4, 3, dtype=torch.int64)
    assert nondet_ext.ulp_distance(a, b, out=out) is out
    assert torch.equal(out, nondet_ext.ulp_distance(a, b))
    with pytest.raises(TypeError, match=r"out must be a dense int64 tensor, got torch.int32"):
        nondet_ext.ulp_distance(a, b, out=out.to(torch.int32))
    for wrong in (out[:2], out.t(), torch.zeros(3, 4, dtype=torch.int64).t()):
        with pytest.raises(ValueError, match=r"out must be contiguous int64 of shape \(4, 3\)"):
            nondet_ext.ulp_distance(a, b, out=wrong)


def test_flush_to_zero_modes_change_nothing():
    bits = np.array(
        [0, 0x80000000, 1, 5, 0x7FFFFF, 0x800000, 0x80000001, 0x80800000], dtype=np.uint32
    )
    fmt = FORMATS["float32"]
    expected = {up: nextafter(fmt.array(bits), up) for up in (True, False)}
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor has no flush-to-zero mode")
    try:
        flushed = (fmt.tensor(bits)[3:4] * 1.0).view(torch.int32).item()
        up, down = nondet_ext.next_up(fmt.tensor(bits)), nondet_ext.next_down(fmt.tensor(bits))
        moved = nondet_ext.flip_ulp(fmt.tensor(bits), range(8))
        distance = nondet_ext.ulp_distance(fmt.tensor(bits), up).tolist()
        gap = fmt.bits(nondet_ext.spacing(fmt.tensor(bits)))
    finally:
        torch.set_flush_denormal(False)
    assert flushed == 0  # the mode was active
    assert_same_values(fmt.bits(up), expected[True], fmt)
    assert_same_values(fmt.bits(down), expected[False], fmt)
    assert_same_values(fmt.bits(moved), expected[True], fmt)
    assert distance == [1] * 8
    assert_same_values(gap, np.spacing(fmt.array(bits)), fmt)


def test_large_outputs_are_written_past_the_caches_with_equal_bits(backend):
    rng = np.random.default_rng(8)
    fmt = FORMATS["float32"]
    n = 2**23 if backend.startswith("cpu") else 2**18  # only the CPU kernels bypass the caches
    bits = fmt.random_bits(rng, n + 13)
    x = fmt.tensor(bits)[1:]
    expected = nextafter(fmt.array(bits)[1:], True)
    assert_same_values(fmt.bits(nondet_ext.next_up(x)), expected, fmt)
    distance = nondet_ext.ulp_distance(x[: n // 2], x[1 : n // 2 + 1], nan="propagate")
    small = nondet_ext.ulp_distance(x[:1000], x[1:1001], nan="propagate")
    assert torch.equal(distance[:1000], small)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_change_nothing(threads):
    fmt = FORMATS["float32"]
    bits = fmt.random_bits(np.random.default_rng(9), 400_001)
    x = fmt.tensor(bits)
    with threads_of_torch(threads):
        up = nondet_ext.next_up(x)
        distance = nondet_ext.ulp_distance(x, up, nan="propagate")
        x[399_999] = torch.nan
        with pytest.raises(ValueError, match="NaN"):
            nondet_ext.ulp_distance(x[-5:].expand(100_000, 5), x[-5:].expand(100_000, 5))
    assert_same_values(fmt.bits(up), nextafter(fmt.array(bits), True), fmt)
    wrong = (distance != 1) & (distance != SMALLEST_INT64) & ~fmt.tensor(bits).isposinf()
    assert not bool(wrong.any())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: nondet_ext.next_up(torch.ones(2, dtype=torch.int32)),
            TypeError,
            r"x must be .*got torch.int32",
        ),
        (lambda: nondet_ext.next_up([1.0]), TypeError, "x must be a torch.Tensor, got list"),
        (lambda: nondet_ext.spacing(torch.ones(2).to_sparse()), TypeError, "sparse"),
        (
            lambda: nondet_ext.next_down(torch.ones(2, dtype=torch.complex64)),
            TypeError,
            "complex64",
        ),
        (
            lambda: nondet_ext.ulp_distance(torch.ones(1), torch.ones(1, dtype=torch.float64)),
            TypeError,
            "a and b must have one dtype, got torch.float32 and torch.float64",
        ),
        (
            lambda: nondet_ext.ulp_distance(torch.ones(1), torch.ones(1), nan="ignore"),
            ValueError,
            "nan must be 'raise' or 'propagate', got 'ignore'",
        ),
        (lambda: nondet_ext.ulp_distance(torch.ones(2), torch.ones(3)), RuntimeError, "size"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
