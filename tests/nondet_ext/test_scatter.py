"""Compare index_add, scatter_add and bincount with loops over NumPy scalars and with fractions."""

import itertools
from collections.abc import Sequence
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nondet_ext
from factories.floats import FORMATS, Format, assert_same_values
from factories.samples import check, mixed, to_torch

EVERY_ORDER = [("fixed", None), ("exact", None), ("seeded", 7), ("seeded", (7, 1, 2, 3))]


pytestmark = pytest.mark.usefixtures("cpu_isa")


@pytest.fixture(params=list(FORMATS))
def fmt(request: pytest.FixtureRequest) -> Format:
    return FORMATS[request.param]


def visiting_order(n: int, order: str, seed: object) -> list[int]:
    if order != "seeded" or n == 0:
        return list(range(n))
    size = 1
    while -(-n // size) > 1024:
        size *= 2
    parts = -(-n // size)
    first, *coordinates = seed if isinstance(seed, tuple) else (seed,)
    counter = tuple(coordinates) + (0,) * (3 - len(coordinates))
    words = nondet_ext.philox_bits(parts, seed=first, stream=0x6F726465, counter=counter).tolist()
    ranked = sorted(range(parts), key=lambda p: (words[p] % 2**32, p))
    return [i for p in ranked for i in range(p * size, min(n, (p + 1) * size))]


def round_fraction(value: Fraction, dtype: type) -> np.generic:
    """Round a fraction to the nearest value of `dtype`, ties to even."""
    info = ml_dtypes.finfo(dtype)
    if value == 0:
        return np.zeros(1, dtype)[0]
    exponent = max(
        value.numerator.bit_length() - value.denominator.bit_length(), int(info.minexp) - 1
    )
    if abs(value) < Fraction(2) ** exponent:
        exponent -= 1
    exponent = max(exponent, int(info.minexp))
    unit = Fraction(2) ** (exponent - int(info.nmant))
    rounded = round(value / unit) * unit  # Python rounds ties to even
    if abs(rounded) > Fraction(float(info.max)):
        return np.array([np.inf if value > 0 else -np.inf], dtype)[0]
    if value < 0 and rounded == 0:
        return np.array([-0.0], dtype)[0]
    return np.array([float(rounded)], dtype)[0]


def exact_sum(values: Sequence[np.generic], dtype: type) -> np.generic:
    floats = [float(each) for each in values]
    special = [each for each in floats if not np.isfinite(each)]
    if special:
        with np.errstate(invalid="ignore"):
            return np.array([np.sum(special)]).astype(dtype)[0]
    return round_fraction(sum(map(Fraction, floats), Fraction(0)), dtype)


def add_by_loop(
    values: np.ndarray, targets: np.ndarray, sources: np.ndarray, order: str, seed: object, n: int
) -> np.ndarray:
    """Add flat sources to flat destinations. The order is that of `n` positions, each with
    sources.size // n consecutive values.
    """
    dtype = values.dtype.type
    wide = np.float64 if dtype is np.float64 else np.float32
    out = values.copy()
    width = sources.size // max(n, 1)
    with np.errstate(all="ignore"):
        if order == "exact":
            for t in set(targets.tolist()):
                out[t] = exact_sum([values[t], *sources[targets == t]], dtype)
            return out
        sums = values.astype(wide)
        for i in visiting_order(n, order, seed):
            for j in range(i * width, (i + 1) * width):
                sums[targets[j]] += wide(sources[j])
        touched = np.unique(targets)
        out[touched] = sums[touched].astype(dtype)
    return out


def index_add_by_loop(x, dim, index, source, order, seed):
    """Compute index_add on NumPy arrays."""
    into, values = np.moveaxis(x, dim, 0), np.moveaxis(source, dim, 0)
    shape, n = into.shape, values.shape[0]
    width = int(np.prod(shape[1:]))
    targets = (np.asarray(index).reshape(-1, 1) * width + np.arange(width)).reshape(-1)
    flat = np.ascontiguousarray(into).reshape(-1)
    sources = np.ascontiguousarray(values).reshape(-1)
    out = add_by_loop(flat, targets, sources, order, seed, n)
    return np.moveaxis(out.reshape(shape), 0, dim)


SHAPES = [
    # shape, dim, n
    ((5,), 0, 60),
    ((700,), 0, 90),
    ((3, 4), 0, 50),
    ((3, 4), 1, 50),
    ((4, 3, 5), -2, 40),
    ((2, 3, 9), 1, 30),
    ((2, 600), 0, 7),
    ((1500, 2, 2), 0, 5),
    ((6,), 0, 3000),
]


@pytest.mark.parametrize(("order", "seed"), EVERY_ORDER)
@pytest.mark.parametrize(("shape", "dim", "n"), SHAPES)
def test_index_add_is_the_loop(fmt, shape, dim, n, order, seed):
    sized = list(shape)
    sized[dim] = n
    x, source = mixed(fmt, shape, 1), mixed(fmt, tuple(sized), 2)
    index = np.random.default_rng(3).integers(0, shape[dim], n)
    expected = index_add_by_loop(x, dim, index, source, order, seed)
    tensors = to_torch(x, fmt), dim, torch.from_numpy(index), to_torch(source, fmt)
    check(nondet_ext.index_add(*tensors, order=order, seed=seed), expected, fmt)
    assert nondet_ext.index_add_(*tensors, order=order, seed=seed) is tensors[0]
    check(tensors[0], expected, fmt)


@given(data=st.data())
def test_any_values_at_any_indices(data):
    fmt = FORMATS[data.draw(st.sampled_from(list(FORMATS)))]
    order, seed = data.draw(st.sampled_from(EVERY_ORDER))
    rows, columns = data.draw(st.integers(1, 4)), data.draw(st.sampled_from([1, 2, 9]))
    index = data.draw(st.lists(st.integers(0, rows - 1), max_size=8))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    bits = rng.choice(fmt.special_bits, (rows + len(index)) * columns)
    random = rng.random(bits.size) < data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    bits[random] = fmt.random_bits(rng, int(random.sum()))
    both = fmt.array(bits).reshape(-1, columns)
    x, source = both[:rows], both[rows:]
    expected = index_add_by_loop(x, 0, np.array(index, dtype=np.int64), source, order, seed)
    got = nondet_ext.index_add(
        to_torch(x, fmt),
        0,
        torch.tensor(index, dtype=torch.int64),
        to_torch(source, fmt),
        order=order,
        seed=seed,
    )
    check(got, expected, fmt)


def test_destinations_without_sources_keep_their_bits(fmt):
    bits = fmt.special_bits
    for order, seed in EVERY_ORDER:
        for columns in (1, 8):
            x = fmt.tensor(np.repeat(bits, columns)).reshape(-1, columns)
            x = torch.cat([x, torch.ones_like(x[:1])])
            source = torch.ones(len(bits), columns, dtype=x.dtype)
            index = torch.full((len(bits),), len(bits))
            got = nondet_ext.index_add(x, 0, index, source, order=order, seed=seed)
            np.testing.assert_array_equal(fmt.bits(got[:-1]), fmt.bits(x[:-1]))
            assert got[-1].tolist() == [min(1.0 + len(bits), 256.0)] * columns or order != "exact"


@pytest.mark.parametrize("columns", [1, 3, 16])
def test_zeros(fmt, columns):
    zeros = torch.full((2, columns), -0.0, dtype=fmt.torch_dtype)
    index, source = torch.tensor([0]), torch.full((1, columns), -0.0, dtype=fmt.torch_dtype)
    exact = nondet_ext.index_add(zeros, 0, index, source, order="exact")
    assert torch.signbit(exact).tolist() == [[False] * columns, [True] * columns]
    fixed = nondet_ext.index_add(zeros, 0, index, source)
    assert torch.signbit(fixed).tolist() == [[True] * columns, [True] * columns]


@pytest.mark.parametrize("columns", [1, 16])
@pytest.mark.parametrize(
    ("x", "sources", "expected"),
    [
        (1e30, [1.0, -1e30], 1.0),
        (3e38, [3e38, -3e38, 1.0], 3e38),
        (3e38, [3e38], np.inf),
        (1.0, [2.0**-24, 2.0**-80], 1 + 2.0**-23),  # above a tie by less than float64 can show
        (1.0, [2.0**-24, -(2.0**-80)], 1.0),
        (1.0, [2.0**-24], 1.0),
        (1.0, [2.0**-23, 2.0**-24], 1 + 2.0**-22),
        (np.inf, [1.0, -1e30], np.inf),
        (np.inf, [-np.inf], np.nan),
        (2.0**-149, [2.0**-149], 2.0**-148),
    ],
)
def test_exact_sums_of_float32(x, sources, expected, columns):
    values = torch.full((1, columns), x, dtype=torch.float32)
    rows = torch.tensor(sources, dtype=torch.float32)[:, None].repeat(1, columns)
    for permuted in itertools.permutations(range(len(sources))):
        index = torch.zeros(len(sources), dtype=torch.int64)
        got = nondet_ext.index_add(values, 0, index, rows[list(permuted)], order="exact")
        wanted = torch.full((1, columns), expected, dtype=torch.float32)
        torch.testing.assert_close(got, wanted, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("rows", "n", "columns"),
    [(37, 40_000, 1), (70_000, 20_000, 1), (40_000, 90_000, 1), (50, 3_000, 16)],
)
@pytest.mark.parametrize("spread", [0.0, 30.0])
def test_exact_does_not_depend_on_the_order(fmt, rows, n, columns, spread):
    rng = np.random.default_rng(5)
    x = to_torch(mixed(fmt, (rows, columns), 1, 0.0), fmt)
    source = to_torch(mixed(fmt, (n, columns), 2, spread), fmt)
    index = torch.from_numpy(rng.integers(0, rows, n))
    got = nondet_ext.index_add(x, 0, index, source, order="exact")
    shuffled = torch.from_numpy(rng.permutation(n))
    again = nondet_ext.index_add(x, 0, index[shuffled], source[shuffled], order="exact")
    np.testing.assert_array_equal(fmt.bits(again), fmt.bits(got))
    for row in rng.choice(rows, 6):
        chosen = source[index == int(row), 0]
        values = [fmt.array(fmt.bits(each.reshape(1)))[0] for each in (x[row, 0], *chosen)]
        expected = exact_sum(values, fmt.numpy_dtype)
        assert_same_values(fmt.bits(got[row, 0].reshape(1)), np.array([expected]), fmt)


SCATTERS = [
    ((5,), 0, (40,), (40,)),
    ((3, 4), 0, (6, 4), (6, 4)),
    ((3, 4), 1, (3, 9), (3, 9)),
    ((3, 4), 1, (1, 9), (2, 10)),
    ((2, 3, 4), 1, (2, 5, 3), (3, 5, 6)),
    ((2, 3, 4), -1, (1, 1, 30), (2, 3, 30)),
    ((2, 3, 4), 0, (0, 3, 4), (0, 3, 4)),
]


def scatter_add_by_loop(x, dim, index, src, order, seed):
    used = src[tuple(slice(size) for size in index.shape)]
    targets = []
    for at in np.ndindex(*index.shape):
        to = list(at)
        to[dim] = index[at]
        targets.append(np.ravel_multi_index(to, x.shape))
    flat = np.array(targets, dtype=np.int64)
    sources = np.ascontiguousarray(used).reshape(-1)
    out = add_by_loop(np.ascontiguousarray(x).reshape(-1), flat, sources, order, seed, flat.size)
    return out.reshape(x.shape)


@pytest.mark.parametrize(("order", "seed"), EVERY_ORDER)
@pytest.mark.parametrize(("shape", "dim", "index_shape", "src_shape"), SCATTERS)
def test_scatter_add_is_the_loop(fmt, shape, dim, index_shape, src_shape, order, seed):
    x, src = mixed(fmt, shape, 1), mixed(fmt, src_shape, 2)
    index = np.random.default_rng(3).integers(0, shape[dim], index_shape)
    expected = scatter_add_by_loop(x, dim, index, src, order, seed)
    tensors = to_torch(x, fmt), dim, torch.from_numpy(index), to_torch(src, fmt)
    kept = tensors[2].clone()
    check(nondet_ext.scatter_add(*tensors, order=order, seed=seed), expected, fmt)
    assert nondet_ext.scatter_add_(*tensors, order=order, seed=seed) is tensors[0]
    check(tensors[0], expected, fmt)
    assert torch.equal(tensors[2], kept)


def test_bincount(fmt):
    index = np.random.default_rng(1).integers(0, 7, 200)
    weights = mixed(fmt, (200,), 2)
    for order, seed in EVERY_ORDER:
        zeros = np.zeros(9, fmt.numpy_dtype)
        expected = add_by_loop(zeros, index, weights, order, seed, 200)
        for dtype in (torch.int64, torch.uint8):
            where = torch.from_numpy(index).to(dtype)
            got = nondet_ext.bincount(where, to_torch(weights, fmt), 9, order=order, seed=seed)
            check(got, expected, fmt)
    assert nondet_ext.bincount(torch.tensor([1, 4]), torch.ones(2)).tolist() == [0, 1, 0, 0, 1]


def test_fixed_agrees_with_float64_within_its_bound():
    n, rows = 50_000, 20
    generator = torch.Generator().manual_seed(2)
    index = torch.randint(0, rows, (n,), generator=generator)
    source = torch.randn(n, generator=generator)
    counts = torch.bincount(index, minlength=rows)
    reference = torch.bincount(index, source.double(), rows)
    sizes = torch.bincount(index, source.double().abs(), rows)
    # Recursive summation of m values: |error| <= m u / (1 - m u) * sum of sizes (Higham 2002, 4.2).
    unit = 2.0**-24
    bound = counts * unit / (1 - counts * unit) * sizes + 1e-30
    for order, seed in [*EVERY_ORDER, ("atomic", None)]:
        got = nondet_ext.bincount(index, source, rows, order=order, seed=seed).double()
        assert bool(((got - reference).abs() <= bound).all())
    exact = nondet_ext.bincount(index, source, rows, order="exact").double()
    assert bool(((exact - reference).abs() <= unit * reference.abs() + 2.0**-40 * sizes).all())


def test_seeds_differ():
    generator = torch.Generator().manual_seed(3)
    source = torch.randn(5_000, generator=generator)
    index = torch.zeros(5_000, dtype=torch.int64)
    results = {nondet_ext.bincount(index, source, order="seeded", seed=s).item() for s in range(30)}
    assert len(results) > 5
