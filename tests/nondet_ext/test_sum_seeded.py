"""Compare the seeded order with nondet_ext.reference; test its spread over seeds, and the atomic
order.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nondet_ext
from emulation.fixtures import running_on
from factories.floats import FORMATS, Format
from factories.samples import EVERY_FORMAT, check, finite_bits, gathered, mixed, to_numpy, to_torch
from nondet_ext import reference

cpu = pytest.mark.usefixtures("cpu_isa")
everywhere = pytest.mark.usefixtures("backend")

SEEDS = [0, 2**32 - 1, (3,), (3, 1), (3, 1, 4, 2**32 - 1)]
EDGES = [0, 1, 2, 5, 33, 1024, 1025, 2047, 2049, 4097]


@pytest.fixture(params=EVERY_FORMAT)
def fmt(request: pytest.FixtureRequest) -> Format:
    return FORMATS[request.param]


def test_philox_of_the_reference_is_the_published_one():
    # Known answers of Random123 1.14, philox4x32-10.
    assert reference.philox4x32((0,) * 4, (0,) * 2) == (
        0x6627E8D5,
        0xE169C58D,
        0xBC57AC4C,
        0x9B00DBD8,
    )
    ones = 2**32 - 1
    assert reference.philox4x32((ones,) * 4, (ones,) * 2) == (
        0x408F276D,
        0x41C83B0E,
        0xA20BC7C6,
        0x6D5451FD,
    )


def test_part_sizes():
    sizes = {n: reference.part_size(n) for n in (1, 1024, 1025, 2048, 2049, 2**20, 2**20 + 1)}
    assert list(sizes.values()) == [1, 1, 2, 2, 4, 1024, 2048]
    order = reference.seeded_order(2049, 5)
    assert sorted(order)[0] == (0, 4)
    assert sorted(order)[-1] == (2048, 2049)
    assert len(order) == 513


@everywhere
def test_seeded_is_the_reference(fmt):
    for n, seed in zip(EDGES, itertools.cycle(SEEDS), strict=False):
        values, others = mixed(fmt, n, 2), mixed(fmt, n, 3)
        x, y = to_torch(values, fmt), to_torch(others, fmt)
        how = {"order": "seeded", "seed": seed}
        check(nondet_ext.sum(x, **how), reference.seeded_sum(values, seed), fmt)
        check(nondet_ext.mean(x, **how), reference.seeded_mean(values, seed), fmt)
        check(nondet_ext.dot(x, y, **how), reference.seeded_dot(values, others, seed), fmt)


@cpu
@pytest.mark.parametrize("seed", SEEDS)
def test_sizes_to_5000(fmt, seed):
    values = mixed(fmt, 5_000, 13)
    x = to_torch(values, fmt)
    for n in range(1, 5_000, 193):
        got = nondet_ext.sum(x[:n], order="seeded", seed=seed)
        check(got, reference.seeded_sum(values[:n], seed), fmt)


@cpu
@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("n", [262_145, 1_048_576, 2_345_678])
def test_threads_change_nothing(fmt, n):
    values = mixed(fmt, n, 4)
    x = to_torch(values, fmt)
    expected = reference.seeded_sum(values, 11)
    dot = reference.seeded_dot(values, values, (11, 2))
    for threads in range(1, 9):
        torch.set_num_threads(threads)
        check(nondet_ext.sum(x, order="seeded", seed=11), expected, fmt)
        if threads in (1, 2, 7):
            check(nondet_ext.dot(x, x, order="seeded", seed=(11, 2)), dot, fmt)


@cpu
@pytest.mark.usefixtures("threads")
def test_ten_million():
    values = mixed(FORMATS["float32"], 10_000_000, 5)
    expected = reference.seeded_sum(values, 1)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        got = nondet_ext.sum(torch.from_numpy(values), order="seeded", seed=1)
        check(got, expected, FORMATS["float32"])


@everywhere
@given(data=st.data())
def test_any_layout(data):
    fmt = FORMATS[data.draw(st.sampled_from(EVERY_FORMAT))]
    ndim = data.draw(st.integers(1, 4))
    shape = data.draw(st.lists(st.integers(0, 7), min_size=ndim, max_size=ndim))
    shape[data.draw(st.integers(0, ndim - 1))] *= data.draw(st.sampled_from([1, 1, 50]))
    x = to_torch(mixed(fmt, shape, data.draw(st.integers(0, 99))), fmt)
    x = x.permute(data.draw(st.permutations(range(ndim))))[:: data.draw(st.integers(1, 2))]
    dims = [d for d in range(ndim) if data.draw(st.booleans())]
    rows = gathered(to_numpy(x, fmt), dims or range(ndim))
    seed = data.draw(st.sampled_from(SEEDS))
    got = nondet_ext.sum(x, dims, order="seeded", seed=seed)
    check(got, reference.seeded_sum(rows, seed), fmt)
    got = nondet_ext.mean(x, dims, order="seeded", seed=seed)
    check(got, reference.seeded_mean(rows, seed), fmt)


@everywhere
@pytest.mark.parametrize(("rows", "columns"), [(50, 1), (3000, 1), (1100, 3), (40, 70)])
def test_segments_are_cut_by_their_own_lengths(fmt, rows, columns):
    values = mixed(fmt, (rows, columns), 6)
    x = to_torch(values, fmt)
    bounds = [0, 0, 1, rows // 3, rows]
    expected = [reference.seeded_sum(values[a:b].T, 8) for a, b in itertools.pairwise(bounds)]
    got = nondet_ext.segment_sum(x, torch.tensor(bounds), order="seeded", seed=8)
    check(got, np.array(expected), fmt)
    total = reference.seeded_sum(values.T, 8)
    check(nondet_ext.accumulate(x, order="seeded", seed=8), total, fmt)
    check(nondet_ext.accumulate(list(x), order="seeded", seed=8), total, fmt)


@everywhere
def test_the_whole_range_of_values(fmt):
    values = finite_bits(fmt, np.random.default_rng(7), 1500)
    got = nondet_ext.sum(to_torch(values, fmt), order="seeded", seed=9)
    check(got, reference.seeded_sum(values, 9), fmt)
    for values, expected in [
        ([-0.0, -0.0], -0.0),
        ([1.0, -1.0], 0.0),
        ([math.inf, 1.0], math.inf),
        ([math.inf, -math.inf], math.nan),
    ]:
        x = to_torch(np.array(values, fmt.numpy_dtype), fmt)
        check(nondet_ext.sum(x, order="seeded", seed=9), expected, fmt)
        check(nondet_ext.sum(x, order="atomic"), expected, fmt)


def seeded_sums(x: torch.Tensor, seeds: range) -> np.ndarray:
    sums = [nondet_ext.sum(x, order="seeded", seed=seed).item() for seed in seeds]
    return np.array(sums)


@cpu
@pytest.mark.parametrize("n", [1000, 100_000])
def test_seeds_spread_as_random_orders_of_the_parts_do(n):
    values = mixed(FORMATS["float32"], n, 8)
    x = torch.from_numpy(values)
    sums = seeded_sums(x, range(1000))
    assert np.array_equal(seeded_sums(x, range(50)), sums[:50])
    assert len(np.unique(sums)) > 20
    assert np.mean(sums == nondet_ext.sum(x).item()) < 0.2
    # Simulate a race in NumPy: add the sums of the parts in 1000 random orders.
    size = reference.part_size(n)
    parts = [reference.fixed_sum(values[i : i + size]) for i in range(0, n, size)]
    orders = np.random.default_rng(9).permuted(np.tile(np.array(parts), (1000, 1)), axis=1)
    raced = np.add.accumulate(orders, axis=1)[:, -1]  # one part after the other
    ratio = sums.std() / raced.std()
    assert 1 / 1.25 < ratio < 1.25  # the SD of 1000 values is known to 2.2%
    exact = math.fsum(values.tolist())
    assert abs(sums.mean() - raced.mean()) < 6 * raced.std() / math.sqrt(500)
    # |error| <= d u / (1 - d u) * sum |x|: at most 1023 additions of parts after 72 within a part.
    unit = (1023 + 72) * 2.0**-24
    assert np.abs(sums - exact).max() <= unit / (1 - unit) * math.fsum(map(abs, values.tolist()))


@pytest.mark.parametrize("n", [1000, 1025])
def test_seeds_spread_as_the_emulated_race_does(n):
    x = torch.from_numpy(mixed(FORMATS["float32"], n, 8, spread=1.0))
    raced = []
    with running_on("emulated") as module:
        assert module is not None
        for schedule in range(1000):
            module.emulation.configure(schedule)
            raced.append(nondet_ext.sum(x, order="atomic").item())
    assert len(set(raced)) > 20
    assert 1 / 1.5 < seeded_sums(x, range(1000)).std() / np.std(raced) < 1.5


def test_seeds_and_counters_give_independent_orders():
    parts = 1024
    ranks = []
    for seed in [
        *range(40),
        *((0, c) for c in range(1, 20)),
        *((0, 0, 0, c) for c in range(1, 20)),
    ]:
        order = [begin for begin, _ in reference.seeded_order(parts, seed)]
        assert sorted(order) == list(range(parts))
        ranks.append(np.argsort(order))
    correlations = np.corrcoef(np.array([*ranks, np.arange(parts)]))
    np.fill_diagonal(correlations, 0)
    # Of 3,160 pairs of random permutations (SD 1/32) none is expected beyond 5 SD; the last row is
    # the fixed order.
    assert np.abs(correlations).max() < 5 / 32


@cpu
def test_all_outputs_of_a_call_share_their_order():
    column = torch.from_numpy(mixed(FORMATS["float32"], 3000, 10))
    for dim, x in [(0, column[:, None].repeat(1, 40)), (1, column.repeat(40, 1))]:
        for seed in range(5):
            sums = nondet_ext.sum(x, dim, order="seeded", seed=seed)
            assert sums.unique().numel() == 1
            assert sums[0] == nondet_ext.sum(column, order="seeded", seed=seed)


@everywhere
def test_atomic_adds_every_element_once(fmt):
    for n in (0, 1, 2, 31, 1025, 2500):
        # Sums of small integers are exact in any order.
        x = torch.from_numpy(np.random.default_rng(n).integers(-2, 3, n)).to(fmt.torch_dtype)
        expected = x.double().sum().item()
        assert abs(expected) < 256
        assert nondet_ext.sum(x, order="atomic").item() == expected
        assert nondet_ext.dot(x, torch.ones_like(x), order="atomic").item() == expected
        bounds = torch.tensor([0, n // 2, n])
        got = nondet_ext.segment_sum(x, bounds, order="atomic")
        assert got.double().sum().item() == expected
