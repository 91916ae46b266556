"""Test exact sums on the CUDA kernels, emulated: around the sizes of batches, slices and groups of
outputs they have the bits of the CPU, whatever the values.
"""

import numpy as np
import pytest
import torch

import nondet_ext
from emulation.fixtures import running_on
from factories.floats import FORMATS, Format
from factories.samples import EVERY_FORMAT, finite_bits, mixed, to_torch

BACKENDS = ["emulated", "ptx"]
EXACT = {"order": "exact"}

# A lane loads 8 elements at once, a warp 256; two warps share an output of 2 * 8,192 elements.
SIZES = [1, 7, 8, 9, 31, 32, 33, 255, 256, 257, 16_383, 16_384, 16_385, 24_576]


@pytest.fixture(params=EVERY_FORMAT)
def fmt(request: pytest.FixtureRequest) -> Format:
    return FORMATS[request.param]


def values(fmt: Format, kind: str, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Return values of similar sizes, whose limbs are common to the lanes of a warp; of all sizes;
    or zeros but for a few.
    """
    if kind == "similar":
        return to_torch(mixed(fmt, shape, seed, 0.5), fmt)
    rng = np.random.default_rng(seed)
    array = finite_bits(fmt, rng, int(np.prod(shape))).reshape(shape)
    if kind == "few":
        array[rng.random(shape) < 0.9] = 0
    return to_torch(array, fmt)


def same(got: torch.Tensor, expected: torch.Tensor) -> bool:
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[got.element_size()]
    alike = got.view(integer) == expected.view(integer)
    return bool((alike | (got.isnan() & expected.isnan())).all())


KINDS = ["similar", "all", "few"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_one_row(fmt: Format, kind: str, backend: str) -> None:
    for n in SIZES:
        x, y = values(fmt, kind, (n,), n), values(fmt, kind, (n,), n + 1)
        expected = nondet_ext.sum(x, **EXACT), nondet_ext.mean(x, **EXACT)
        product = nondet_ext.dot(x, y, **EXACT)
        with running_on(backend):
            assert same(nondet_ext.sum(x, **EXACT), expected[0]), n
            assert same(nondet_ext.mean(x, **EXACT), expected[1]), n
            assert same(nondet_ext.dot(x, y, **EXACT), product), n


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_and_columns(fmt: Format, kind: str, backend: str) -> None:
    for shape in ((9, 33), (33, 40), (300, 35), (3, 50, 4)):
        x = values(fmt, kind, shape, 3)
        for dim in range(len(shape)):
            expected = nondet_ext.mean(x, dim, **EXACT)
            with running_on(backend):
                assert same(nondet_ext.mean(x, dim, **EXACT), expected), (shape, dim)


@pytest.mark.parametrize("columns", [1, 7, 8])
@pytest.mark.parametrize("backend", BACKENDS)
def test_segments(fmt: Format, columns: int, backend: str) -> None:
    ends = torch.tensor([2, 2, 3, 35, 300, 301])
    x = values(fmt, "all", (302, columns), 4)
    expected = nondet_ext.segment_sum(x, ends, **EXACT)
    with running_on(backend):
        assert same(nondet_ext.segment_sum(x, ends, **EXACT), expected)


@pytest.mark.parametrize("n", [40, 16_384])
def test_special_values_of_any_lane(fmt: Format, n: int) -> None:
    for place in (0, 1, 31, n - 1):
        for special in (np.nan, np.inf, -np.inf):
            x = values(fmt, "similar", (n,), 5)
            x[place] = special
            expected = nondet_ext.sum(x, **EXACT)
            with running_on("emulated"):
                assert same(nondet_ext.sum(x, **EXACT), expected)
        x[(place + 7) % n] = np.inf  # beside -inf
        with running_on("emulated"):
            assert bool(nondet_ext.sum(x, **EXACT).isnan())


def test_what_cancels_is_gone(fmt: Format) -> None:
    half = values(fmt, "all", (8_192,), 6)
    x = torch.cat([half, -half])[torch.randperm(16_384, generator=torch.Generator().manual_seed(1))]
    with running_on("emulated"):
        total = nondet_ext.sum(x, **EXACT)
    assert float(total) == 0
    assert not bool(torch.signbit(total))


@pytest.mark.parametrize(("backend", "schedules"), [("emulated", 30), ("race", 10), ("ptx", 10)])
@pytest.mark.parametrize("n", [300, 16_400])
def test_one_result_over_all_schedules(n: int, backend: str, schedules: int) -> None:
    x = values(FORMATS["float32"], "all", (n,), 7)
    expected = nondet_ext.sum(x, **EXACT)
    with running_on(backend) as module:
        assert module is not None
        for seed in range(schedules):
            module.emulation.configure(seed)
            assert same(nondet_ext.sum(x, **EXACT), expected)
