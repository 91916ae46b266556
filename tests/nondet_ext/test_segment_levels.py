"""Test the sums of long segments on the CUDA kernels, emulated: segments around the sizes at which
they are divided, anywhere among others, have the bits of the CPU, which sums them without levels.
"""

import itertools

import numpy as np
import pytest
import torch

import nondet_ext
from emulation.fixtures import running_on
from factories.floats import FORMATS, Format
from factories.samples import EVERY_FORMAT, mixed, to_torch

# Rows of a tile of the fixed order, and rows above which a segment of the seeded one is divided.
TILE = 1024
PARTED = 2**15
ORDERS = {"fixed": {"order": "fixed"}, "seeded": {"order": "seeded", "seed": (3, 1)}}

BACKENDS = ["emulated", "ptx"]


@pytest.fixture(params=EVERY_FORMAT)
def fmt(request: pytest.FixtureRequest) -> Format:
    return FORMATS[request.param]


def values(fmt: Format, rows: int, columns: int) -> torch.Tensor:
    """Return values of many magnitudes, whose sum shows the order."""
    return to_torch(mixed(fmt, (rows, columns), rows + columns), fmt)


def compare(x: torch.Tensor, offsets: list[int], backend: str, how: dict[str, object]) -> None:
    """Fail unless the backend's sums have the CPU's bits."""
    ends = torch.tensor(offsets)
    expected = nondet_ext.segment_sum(x, ends, **how)
    with running_on(backend):
        got = nondet_ext.segment_sum(x, ends, **how)
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    alike = (got.view(integer) == expected.view(integer)) | (got.isnan() & expected.isnan())
    wrong = (~alike).nonzero().tolist()
    assert wrong == []


def spread_over(lengths: list[int], first: int = 0) -> list[int]:
    return list(itertools.accumulate(lengths, initial=first))


# Lengths of segments around one and two tiles, with empty ones between them, beginning anywhere.
AROUND = [TILE, TILE + 1, 0, 2 * TILE - 1, 1, 2 * TILE, 2 * TILE + 1, 0, 0, 3, 5 * TILE, 511, 513]


@pytest.mark.parametrize("columns", [1, 3, 7, 8, 33])
@pytest.mark.parametrize("backend", BACKENDS)
def test_tiles_of_the_fixed_order(fmt: Format, columns: int, backend: str) -> None:
    lengths = AROUND if columns < 8 else AROUND[:8]
    for first in (0, 1, 700):
        offsets = spread_over(lengths, first)
        compare(values(fmt, offsets[-1] + first, columns), offsets, backend, ORDERS["fixed"])


@pytest.mark.parametrize("columns", [1, 2, 8])
@pytest.mark.parametrize("lengths", [[PARTED, PARTED + 1], [3, PARTED + 65, 0, 2 * PARTED + 1]])
@pytest.mark.parametrize("backend", BACKENDS)
def test_parts_of_the_seeded_order(
    fmt: Format, columns: int, lengths: list[int], backend: str
) -> None:
    offsets = spread_over(lengths, 9)
    compare(values(fmt, offsets[-1], columns), offsets, backend, ORDERS["seeded"])


@pytest.mark.parametrize("columns", [1, 8])
@pytest.mark.parametrize("backend", BACKENDS)
def test_short_parts(fmt: Format, columns: int, backend: str) -> None:
    """Parts of 1 to 8 rows, the last one short or not, of which a warp adds several at once."""
    lengths = [1, 2, 3, 31, 33, 1023, 1024, 1025, 2047, 2048, 2049, 4096, 4100, 8191]
    if columns > 1:
        lengths = lengths[:-4]
    offsets = spread_over(lengths)
    compare(values(fmt, offsets[-1], columns), offsets, backend, ORDERS["seeded"])


@pytest.mark.parametrize("n", [2**20, 2**20 + 1, 2**20 + TILE + 1])
@pytest.mark.parametrize("order", ORDERS)
def test_tiles_of_tiles(n: int, order: str) -> None:
    """A second level, at which parts of the seeded order have several tiles."""
    compare(values(FORMATS["float32"], n + 5, 1), [0, 3, n + 3, n + 5], "emulated", ORDERS[order])


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_special_values_reach_the_sum(fmt: Format, special: float) -> None:
    x = values(fmt, 3 * TILE, 1)
    x[2 * TILE + 5] = special
    for how in ORDERS.values():
        compare(x, [0, 5, 3 * TILE], "emulated", how)


def test_negative_zeros_stay() -> None:
    x = torch.full((4 * TILE, 1), -0.0)
    with running_on("emulated"):
        for how in ORDERS.values():
            got = nondet_ext.segment_sum(x, torch.tensor([0, 0, 1, 4 * TILE]), **how)
            assert torch.signbit(got).flatten().tolist() == [False, True, True]


def test_rows_outside_of_all_segments_are_not_read() -> None:
    x = values(FORMATS["float32"], 6 * TILE, 1)
    x[: 2 * TILE] = np.nan
    x[5 * TILE :] = np.nan
    compare(x, [2 * TILE, 5 * TILE], "emulated", ORDERS["fixed"])
    expected = nondet_ext.segment_sum(x, torch.tensor([2 * TILE, 5 * TILE]))
    assert not bool(expected.isnan().any())


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("backend", "schedules"), [("emulated", 30), ("race", 10), ("ptx", 10)])
def test_one_result_over_all_schedules(order: str, backend: str, schedules: int) -> None:
    rows = 2 * TILE + 3 if order == "fixed" else PARTED + 1
    x = values(FORMATS["float32"], rows, 1)
    ends = torch.tensor([0, 2, rows])
    expected = nondet_ext.segment_sum(x, ends, **ORDERS[order])
    with running_on(backend) as module:
        assert module is not None
        for seed in range(schedules if order == "fixed" else schedules // 5):
            module.emulation.configure(seed)
            assert torch.equal(nondet_ext.segment_sum(x, ends, **ORDERS[order]), expected)
