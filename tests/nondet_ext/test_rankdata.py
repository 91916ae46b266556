"""Compare ranks with scipy.stats.rankdata, bit for bit, on every backend."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import nondet_ext
from emulation.fixtures import running_on
from factories.floats import FORMATS, is_nan
from factories.samples import EVERY_FORMAT
from nondet_ext._native import _C

OPS = torch.ops.nondet_ext

# Sizes around the limits of insertion sort, small digits, tables of 16-bit keys and kernel blocks.
SIZES = [1, 2, 3, 4, 5, 7, 8, 47, 48, 49, 50, 63, 64, 65, 255, 256, 257, 530, 1000]
LARGE = [2047, 2048, 2049, 4096, 16383, 16384, 16385, 65535, 65536, 65537, 100_000]
INTEGERS = ["int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64", "bool"]


@contextmanager
def flushing() -> Iterator[None]:
    """Flush subnormals to zero in this thread, if the processor can."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def exact(x: torch.Tensor) -> np.ndarray:
    """Return the values in a dtype that NumPy has."""
    return (x.double() if x.dtype == torch.bfloat16 else x).numpy()


def expect_scipy(x: torch.Tensor) -> None:
    got = nondet_ext.rankdata(x)
    assert got.dtype == torch.float64
    assert got.shape == x.shape
    np.testing.assert_array_equal(got.numpy(), stats.rankdata(exact(x), axis=-1))


def with_ties(n: int, share: float, seed: int, rows: int = 1) -> torch.Tensor:
    """Return normal values; a fraction `share` is replaced by one of three values."""
    rng = np.random.default_rng((seed, n))
    values = rng.standard_normal((rows, n))
    tied = rng.random((rows, n)) < share
    return torch.from_numpy(np.where(tied, rng.choice([-0.5, 0.0, 1.5], (rows, n)), values))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("name", EVERY_FORMAT)
def test_sizes_and_ties(name):
    for n in SIZES:
        for share in (0, 0.05, 0.5, 1):
            expect_scipy(with_ties(n, share, seed=1, rows=2).to(FORMATS[name].torch_dtype))


@pytest.mark.parametrize("name", EVERY_FORMAT)
def test_large_rows(name):
    for n in LARGE:
        for share in (0, 0.05, 0.5, 1):
            expect_scipy(with_ties(n, share, seed=2).to(FORMATS[name].torch_dtype))


@pytest.mark.usefixtures("threads")
def test_long_rows_with_any_threads():
    # Threads share a single row of 300,001 elements, and any row of 5,000,000.
    x = with_ties(300_001, 0.3, seed=3).to(torch.float32)
    longest = with_ties(5_000_000, 0.3, seed=4).to(torch.float32)
    expected = stats.rankdata(x.numpy(), axis=-1)
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        for each in (x, x.double(), x.expand(7, -1)):
            got = nondet_ext.rankdata(each)
            assert (got.numpy() == expected).all()
        results.append(nondet_ext.rankdata(longest))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    order = longest.sort(stable=True).indices
    in_order, ranked = longest.take(order), results[0].take(order)
    same = in_order[:, 1:] == in_order[:, :-1]
    assert torch.equal(ranked[:, 1:] == ranked[:, :-1], same)
    assert bool((ranked.diff() >= 0).all())
    assert ranked.sum().item() == 5_000_000 * 5_000_001 / 2


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("name", EVERY_FORMAT)
def test_threads_and_paths_never_change_bits(name):
    shapes = [(1, 40_000), (2, 150_000), (5, 20_000), (3, 70_000), (700, 90), (9, 1)]
    for shape in shapes:
        x = with_ties(shape[1], 0.2, seed=5, rows=shape[0]).to(FORMATS[name].torch_dtype)
        for each in (x, (x * 100).to(torch.int64), (x * 1e17).to(torch.int64)):
            torch.set_num_threads(1)
            expected = nondet_ext.rankdata(each)
            for threads in (2, 3, 8):
                torch.set_num_threads(threads)
                assert torch.equal(nondet_ext.rankdata(each), expected)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("name", INTEGERS)
def test_integers(name):
    rng = np.random.default_rng(6)
    dtype = np.dtype(name)
    info = np.iinfo(dtype) if dtype.kind in "iu" else None
    low, high = (info.min, info.max) if info else (0, 1)
    extremes = [low, high, low, high] + [low + 1, high - 1] * (info is not None)
    for n in (1, 2, 5, 60, 300, 700):
        for values in (
            rng.integers(low, high, n, dtype=dtype, endpoint=True),
            rng.integers(low, min(low + 9, high), n, dtype=dtype, endpoint=True),
            rng.choice(np.array(extremes, dtype=dtype), n),
        ):
            expect_scipy(torch.from_numpy(values))


def test_integers_in_long_rows():
    rng = np.random.default_rng(7)
    spans = [2**3, 2**16 - 1, 2**16, 2**32 - 1, 2**32, 2**62]
    for span in spans:
        for n in (16_383, 16_384, 70_000):
            values = rng.integers(-span // 2, span // 2, n)
            values[:2] = -(span // 2), span - span // 2  # both ends of the span occur
            expect_scipy(torch.from_numpy(values))


@pytest.mark.usefixtures("backend")
def test_integers_that_float64_cannot_tell_apart():
    x = 2**62 + torch.arange(9).flip(0)
    assert x.double().unique().numel() < 9
    assert nondet_ext.rankdata(x).tolist() == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert nondet_ext.rankdata(-x).tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    ends = torch.tensor([2**63 - 1, -(2**63), 0, -(2**63), 2**63 - 2])
    assert nondet_ext.rankdata(ends).tolist() == [5, 1.5, 3, 1.5, 4]


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("name", EVERY_FORMAT)
def test_special_values(name):
    fmt = FORMATS[name]
    bits = fmt.special_bits
    bits = bits[~is_nan(fmt.array(bits))]
    expected = stats.rankdata(fmt.array(bits).astype(np.float64))
    for shift in range(3):
        x = fmt.tensor(np.roll(bits, shift))
        ranks = np.roll(expected, shift).tolist()
        assert nondet_ext.rankdata(x).tolist() == ranks
        with flushing():
            assert nondet_ext.rankdata(x).tolist() == ranks
            assert nondet_ext.rankdata(x, nan_policy="omit").tolist() == ranks


@pytest.mark.usefixtures("backend")
def test_subnormals_and_zeros():
    # 2^-149, -2^-149, 0, -0, 2^-148, 0, 2^-126
    bits = torch.tensor([1, -0x7FFFFFFF, 0, -0x80000000, 2, 0, 0x00800000], dtype=torch.int32)
    for policy in ("raise", "omit"):
        with flushing():
            ranks = nondet_ext.rankdata(bits.view(torch.float32), nan_policy=policy)
        assert ranks.tolist() == [5, 1, 3, 3, 6, 3, 7]


@pytest.mark.usefixtures("backend")
def test_shapes_and_strides():
    x = with_ties(24 * 11, 0.4, seed=8).to(torch.float32).reshape(2, 3, 4, 11)
    wide = torch.zeros(2, 3, 4, 33)
    wide[..., ::3] = x
    for same in (x, wide[..., ::3], x.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0)):
        expect_scipy(same)
    for other in (x.transpose(1, 3), x[:, 1:], x[..., 2:9:2], x[:1].expand(5, 3, 4, 11)):
        expect_scipy(other)
    expect_scipy(x[..., :1].expand(2, 3, 4, 11))
    z = torch.complex(x, x + 1)
    expect_scipy(z.conj().imag.resolve_neg())
    assert torch.equal(nondet_ext.rankdata(z.conj().imag), nondet_ext.rankdata(-(x + 1)))
    for shape in [(0,), (0, 5), (5, 0), (2, 0, 3), (1, 1, 1)]:
        expect_scipy(torch.zeros(shape))


@pytest.mark.usefixtures("backend")
def test_centred_doubled_ranks():
    for n in (1, 2, 5, 64, 301):
        x = with_ties(n, 0.3, seed=9, rows=3)
        ranks = stats.rankdata(x.numpy(), axis=-1)
        got = OPS.ranks(x, True)
        np.testing.assert_array_equal(got.numpy(), 2 * ranks - (n + 1))
        assert (got.sum(-1) == 0).all()
        assert torch.equal(OPS.ranks((x * 1000).long(), True), OPS.ranks((x * 1000).trunc(), True))


def nan_sample(fmt_name: str, n: int) -> torch.Tensor:
    """Return four rows; the second and the last contain NaNs, of either sign."""
    x = with_ties(n, 0.5, seed=10, rows=4).to(FORMATS[fmt_name].torch_dtype)
    x[1, ::3] = torch.nan
    x[1, 1] = -torch.inf
    x[3] = -torch.nan
    x[3, 0] = torch.inf
    return x


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("name", EVERY_FORMAT)
def test_nan_policies(name):
    for n in (2, 7, 300):
        x = nan_sample(name, n)
        for policy in ("propagate", "omit"):
            expected = stats.rankdata(exact(x), axis=-1, nan_policy=policy)
            got = nondet_ext.rankdata(x, nan_policy=policy).numpy()
            np.testing.assert_array_equal(got, expected)
        for clean in (x[0], x[::2]):
            for policy in ("propagate", "omit", "raise"):
                got = nondet_ext.rankdata(clean, nan_policy=policy)
                np.testing.assert_array_equal(got, stats.rankdata(exact(clean), axis=-1))
        with pytest.raises(ValueError, match=r"x\[1\] holds NaN"):
            nondet_ext.rankdata(x)
        with pytest.raises(ValueError, match=r"x\[0, 1\] holds NaN"):
            nondet_ext.rankdata(x.reshape(2, 2, n))
        with pytest.raises(ValueError, match=r"x holds NaN"):
            nondet_ext.rankdata(x[3])


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("name", EVERY_FORMAT)
def test_every_nan_counts(name):
    fmt = FORMATS[name]
    bits = fmt.special_bits
    missing = is_nan(fmt.array(bits))
    infinity = int(np.array(np.inf, dtype=fmt.numpy_dtype).view(fmt.uint))
    for nan in {*bits[missing].tolist(), infinity + 1, infinity + 1 + 2 ** (fmt.width - 1)}:
        x = fmt.tensor(np.array([infinity, nan, 0], dtype=fmt.uint))
        assert nondet_ext.rankdata(x, nan_policy="propagate").isnan().all()
        ranks = nondet_ext.rankdata(x, nan_policy="omit")
        assert torch.equal(ranks.nan_to_num(0), torch.tensor([2.0, 0, 1]).double())
        with pytest.raises(ValueError, match="x holds NaN"):
            nondet_ext.rankdata(x)


def test_nans_in_tables_and_shared_rows():
    for name in EVERY_FORMAT:
        x = nan_sample(name, 20_000)
        for policy in ("propagate", "omit"):
            expected = stats.rankdata(exact(x), axis=-1, nan_policy=policy)
            got = nondet_ext.rankdata(x, nan_policy=policy).numpy()
            np.testing.assert_array_equal(got, expected)


LISTS = st.lists(st.floats(width=32, allow_nan=False), max_size=90)


@settings(max_examples=150, deadline=None)
@given(values=LISTS, repeats=st.integers(1, 4))
def test_any_floats(values: Sequence[float], repeats: int) -> None:
    x = torch.tensor(values * repeats, dtype=torch.float32)
    expect_scipy(x)
    expect_scipy(x.double())


@settings(max_examples=100, deadline=None)
@given(
    bits=st.lists(st.integers(0, 2**16 - 1), min_size=1, max_size=200),
    name=st.sampled_from(["float16", "bfloat16"]),
    policy=st.sampled_from(["propagate", "omit"]),
)
def test_any_bits(bits: Sequence[int], name: str, policy: str) -> None:
    x = FORMATS[name].tensor(np.array(bits, dtype=np.uint16))
    expected = stats.rankdata(x.double().numpy(), nan_policy=policy)
    np.testing.assert_array_equal(nondet_ext.rankdata(x, nan_policy=policy), expected)


@settings(max_examples=100, deadline=None)
@given(values=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=200))
def test_any_integers(values: Sequence[int]) -> None:
    below = [sum(other < each for other in values) for each in values]
    equal = [values.count(each) for each in values]
    expected = [b + (e + 1) / 2 for b, e in zip(below, equal, strict=True)]
    assert nondet_ext.rankdata(torch.tensor(values)).tolist() == expected


def test_gradients_stop():
    x = torch.randn(5, requires_grad=True)
    ranked = nondet_ext.rankdata(x * 2)
    assert not ranked.requires_grad
    assert torch.equal(ranked, nondet_ext.rankdata(x.detach()))


def test_refusals():
    with pytest.raises(TypeError, match=r"x must be a torch\.Tensor, got list"):
        nondet_ext.rankdata([1.0, 2.0])
    with pytest.raises(TypeError, match=r"got torch.complex64"):
        nondet_ext.rankdata(torch.zeros(3, dtype=torch.complex64))
    with pytest.raises(TypeError, match=r"got torch.sparse_coo"):
        nondet_ext.rankdata(torch.zeros(3).to_sparse())
    with pytest.raises(ValueError, match="at least one dimension, got a 0-d tensor"):
        nondet_ext.rankdata(torch.tensor(1.0))
    with pytest.raises(ValueError, match=r"nan_policy must be 'raise', .*, got 'ignore'"):
        nondet_ext.rankdata(torch.zeros(3), nan_policy="ignore")
    many = torch.zeros(1, dtype=torch.float16).expand(2**32)
    with pytest.raises(ValueError, match="x has 4294967296 elements in its last dimension"):
        nondet_ext.rankdata(many)
    with pytest.raises(ValueError, match="at most 4294967295"):
        OPS.ranks(many, False)
    with pytest.raises(ValueError, match="at most 4294967295"):
        _C.cpu.integer_ranks(x=0, rows=1, n=2**32, out=0, centred=False, threads=1)


@pytest.mark.parametrize(
    ("backend", "schedules"), [("emulated", 1000), ("race", 100), ("ptx", 100)]
)
def test_one_result_over_all_schedules(backend: str, schedules: int) -> None:
    x = with_ties(265, 0.5, seed=11, rows=2).to(torch.float32)  # three blocks of threads
    expected = nondet_ext.rankdata(x)
    with running_on(backend) as module:
        assert module is not None
        for seed in range(schedules):
            module.emulation.configure(seed)
            assert torch.equal(nondet_ext.rankdata(x), expected), f"schedule {seed}"
