"""Test sums at indices on the CUDA kernels, emulated: runs of equal indices around the sizes that
threads and warps load at a time have the bits of the CPU, which adds the sources one by one.
"""

import numpy as np
import pytest
import torch

import nondet_ext
from emulation.fixtures import running_on
from factories.floats import FORMATS, Format
from factories.samples import EVERY_FORMAT, mixed, to_torch

ORDERS: dict[str, dict[str, object]] = {
    "fixed": {"order": "fixed"},
    "exact": {"order": "exact"},
    "seeded": {"order": "seeded", "seed": (3, 1)},
}
BACKENDS = ["emulated", "ptx"]

# Sources of each destination. A thread loads 8 at a time; a warp takes a run of more than 32, 128
# at a time.
COUNTS = [1, 0, 7, 8, 9, 16, 17, 31, 32, 33, 34, 127, 128, 129, 160, 0, 256, 257, 300, 2]


@pytest.fixture(params=EVERY_FORMAT)
def fmt(request: pytest.FixtureRequest) -> Format:
    return FORMATS[request.param]


def same(got: torch.Tensor, expected: torch.Tensor) -> bool:
    """Return True if the bits are equal; any NaN equals any NaN."""
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[got.element_size()]
    alike = got.view(integer) == expected.view(integer)
    return bool((alike | (got.isnan() & expected.isnan())).all())


def compare(
    x: torch.Tensor, dim: int, index: torch.Tensor, source: torch.Tensor, order: str, backend: str
) -> None:
    expected = nondet_ext.index_add(x, dim, index, source, **ORDERS[order])
    with running_on(backend):
        got = nondet_ext.index_add(x, dim, index, source, **ORDERS[order])
    assert same(got, expected)


def shuffled(counts: list[int]) -> torch.Tensor:
    """Return indices of which `counts[i]` are i, in any order."""
    index = np.repeat(np.arange(len(counts)), counts)
    return torch.from_numpy(np.random.default_rng(7).permutation(index))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("columns", [1, 3, 7, 8, 33])
@pytest.mark.parametrize("backend", BACKENDS)
def test_runs_of_every_length(fmt: Format, columns: int, order: str, backend: str) -> None:
    index = shuffled(COUNTS)
    x = to_torch(mixed(fmt, (len(COUNTS), columns), 1), fmt)
    source = to_torch(mixed(fmt, (index.numel(), columns), 2), fmt)
    compare(x, 0, index, source, order, backend)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("n", [32, 33, 64, 128, 129, 300])
@pytest.mark.parametrize("backend", BACKENDS)
def test_one_destination_takes_all(fmt: Format, n: int, order: str, backend: str) -> None:
    index = torch.zeros(n, dtype=torch.int64)
    for columns in (1, 2):
        x = to_torch(mixed(fmt, (1, columns), 3), fmt)
        source = to_torch(mixed(fmt, (n, columns), 4), fmt)
        compare(x, 0, index, source, order, backend)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("inner", [1, 9])
def test_outer_dimensions_do_not_mix(fmt: Format, inner: int, order: str) -> None:
    """The run at the end of a row of indices is not continued in the next row's."""
    index = shuffled([40, 0, 70])
    x = to_torch(mixed(fmt, (3, 3, inner), 5), fmt)
    source = to_torch(mixed(fmt, (3, 110, inner), 6), fmt)
    compare(x, 1, index, source, order, "emulated")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("place", [0, 31, 32, 100, 139])
def test_special_values_anywhere_in_a_long_run(fmt: Format, place: int, order: str) -> None:
    index = torch.zeros(140, dtype=torch.int64)
    for special in (np.nan, np.inf, -np.inf):
        source = to_torch(mixed(fmt, (140, 1), 8), fmt)
        source[place] = special
        compare(torch.ones(1, 1, dtype=fmt.torch_dtype), 0, index, source, order, "emulated")
    source[(place + 50) % 140] = np.inf  # and the other infinity
    compare(torch.ones(1, 1, dtype=fmt.torch_dtype), 0, index, source, order, "emulated")


def test_zeros_keep_their_sign_in_a_long_run(fmt: Format) -> None:
    zeros = torch.full((40, 1), -0.0, dtype=fmt.torch_dtype)
    index = torch.zeros(40, dtype=torch.int64)
    for order in ORDERS:
        compare(zeros[:1], 0, index, zeros, order, "emulated")


@pytest.mark.parametrize("index", [[0] * 40 + [-1], [2**31] + [1] * 40, [0, 2**32 + 1], [5]])
def test_an_index_out_of_range_changes_nothing(index: list[int]) -> None:
    x, source = torch.ones(5), torch.ones(len(index))
    wrong = next(i for i in index if not 0 <= i < 5)
    for order in ORDERS.values():
        with (
            running_on("emulated"),
            pytest.raises(IndexError, match=rf"index\[{index.index(wrong)}\] = {wrong} "),
        ):
            nondet_ext.index_add_(x, 0, torch.tensor(index), source, **order)
        assert x.tolist() == [1.0] * 5


@pytest.mark.parametrize("wrong", [-1, -(2**32), 5, 2**31, 2**32 + 1, 2**63 - 1])
def test_narrow_keys_keep_what_is_out_of_range(wrong: int) -> None:
    """More than 4,096 indices are sorted as 32-bit keys, in which 2^32 + 1 would be 1."""
    index = torch.arange(5000) % 5
    source = torch.ones(5000)
    for order in ORDERS:
        compare(torch.ones(5), 0, index, source, order, "emulated")
        index[4321] = wrong
        x = torch.ones(5)
        with (
            running_on("emulated"),
            pytest.raises(IndexError, match=rf"index\[4321\] = {wrong} "),
        ):
            nondet_ext.index_add_(x, 0, index, source, **ORDERS[order])
        assert x.tolist() == [1.0] * 5
        index[4321] = 1


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("backend", "schedules"), [("emulated", 60), ("race", 20), ("ptx", 20)])
def test_one_result_over_all_schedules(order: str, backend: str, schedules: int) -> None:
    index = shuffled([3, 40, 0, 140])
    fmt = FORMATS["float32"]
    x, source = to_torch(mixed(fmt, (4, 2), 1), fmt), to_torch(mixed(fmt, (183, 2), 2), fmt)
    expected = nondet_ext.index_add(x, 0, index, source, **ORDERS[order])
    with running_on(backend) as module:
        assert module is not None
        for seed in range(schedules):
            module.emulation.configure(seed)
            got = nondet_ext.index_add(x, 0, index, source, **ORDERS[order])
            assert torch.equal(got, expected)
