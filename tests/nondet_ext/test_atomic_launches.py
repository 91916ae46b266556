"""Test the atomic order of the CUDA kernels, emulated: that it races where blocks start as a GPU
starts them, and its error where numbers are subnormal.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

import nondet_ext
from emulation.fixtures import running_on

SCHEDULES = 6
RESIDENT = 8

# Each output has 8 parts. Blocks hold 128 or 256 outputs, or 8 (a warp for each), so there are more
# than RESIDENT blocks of outputs.
ROWS = 8
ENDS = torch.arange(0, 81 * ROWS, ROWS)
RACES: dict[str, tuple[tuple[int, ...], Callable[..., torch.Tensor]]] = {
    "columns": ((ROWS, 2048), lambda x, **how: nondet_ext.sum(x, 0, **how)),
    "rows": ((2500, ROWS), lambda x, **how: nondet_ext.sum(x, 1, **how)),
    "rows side by side": ((900, ROWS, 3), lambda x, **how: nondet_ext.sum(x, 1, **how)),
    "segments": ((80 * ROWS,), lambda x, **how: nondet_ext.segment_sum(x, ENDS, **how)),
    "wide segments": (
        (2 * ROWS, 1200),
        lambda x, **how: nondet_ext.segment_sum(x, ENDS[:3], **how),
    ),
}


def mixed_magnitudes(shape: tuple[int, ...]) -> torch.Tensor:
    rng = np.random.default_rng(41)
    values = rng.standard_normal(shape) * 2.0 ** rng.integers(-8, 8, shape)
    return torch.from_numpy(values.astype(np.float32))


@pytest.mark.parametrize("work", RACES)
def test_a_race_shows_itself_where_blocks_start_in_order(work: str) -> None:
    shape, add = RACES[work]
    x = mixed_magnitudes(shape)
    orders = {
        "fixed": {"order": "fixed"},
        "seeded": {"order": "seeded", "seed": (5, 1)},
        "exact": {"order": "exact"},
    }
    expected = {name: add(x, **how) for name, how in orders.items()}
    raced = []
    with running_on("emulated") as module:
        assert module is not None
        for seed in range(SCHEDULES):
            module.emulation.configure(seed, policy="hardware", resident=RESIDENT)
            raced.append(add(x, order="atomic"))
            if seed == SCHEDULES - 1:
                for name, how in orders.items():
                    assert torch.equal(add(x, **how), expected[name]), name
    results = torch.stack(raced)
    varies = (results != results[0]).any(0)
    assert float(varies.double().mean()) > 0.25


TINY = 2.0**-126  # the smallest normal float32


def small_numbers(n: int, dtype: torch.dtype) -> torch.Tensor:
    """Return numbers around the smallest normal one, most of them subnormal."""
    rng = np.random.default_rng(43)
    values = rng.uniform(-1, 1, n) * 2.0 ** rng.integers(-133, -125, n)
    return torch.from_numpy(values).to(dtype)


def bound(values: list[float], dtype: torch.dtype, flushed: float) -> float:
    """Return the bound of docs/numerics.md for the sum of up to 8 values, with `flushed` for what
    subnormal numbers may lose.
    """
    d = 8 * 2.0 ** -(53 if dtype == torch.float64 else 24)
    g = d / (1 - d)
    error = g * math.fsum(map(abs, values)) + flushed * (1 + g)
    if dtype == torch.bfloat16:  # rounded at last: half a unit in the last place of the result
        error += 2.0**-8 * (abs(math.fsum(values)) + error) + 2.0**-134
    return error


# Name -> (the number of additions to totals for n elements, the op).
SMALL: dict[str, tuple[int, Callable[[torch.Tensor], torch.Tensor]]] = {
    "sum": (8, lambda x: nondet_ext.sum(x, order="atomic")),
    "columns": (8, lambda x: nondet_ext.sum(x[:, None].repeat(1, 40), 0, order="atomic")[:1]),
    "dot": (8, lambda x: nondet_ext.dot(x, torch.ones_like(x), order="atomic")),
    "segments": (8, lambda x: nondet_ext.segment_sum(x, torch.tensor([0, 8]), order="atomic")),
    "destinations": (
        9,  # and the old value
        lambda x: nondet_ext.index_add(
            torch.zeros(1, dtype=x.dtype), 0, torch.zeros(8, dtype=torch.int64), x, order="atomic"
        ),
    ),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("work", SMALL)
@pytest.mark.parametrize("backend", ["cpu", "emulated", "ptx"])
def test_subnormals_stay_within_the_bound(work: str, dtype: torch.dtype, backend: str) -> None:
    additions, add = SMALL[work]
    launched = backend != "cpu" and dtype != torch.float64
    most = 0.0
    with running_on(backend) as module:
        for seed in range(20):
            if module is not None:
                module.emulation.configure(seed)
            x = small_numbers(8 * (seed + 1), dtype)[-8:]
            values = x.tolist()
            error = abs(float(add(x).reshape(-1)[0]) - math.fsum(values))
            flushed = additions * TINY if launched else 0.0
            assert error <= bound(values, dtype, flushed)
            most = max(most, error / bound(values, dtype, 0.0))
    # The term for subnormals is needed, and only on the device.
    assert (most > 1) == launched


def test_a_sum_of_subnormals_is_zero_in_the_atomic_order_of_the_device() -> None:
    x = torch.full((8,), 1e-39)
    assert float(nondet_ext.sum(x, order="atomic")) > 7.9e-39
    with running_on("emulated"):
        assert float(nondet_ext.sum(x, order="atomic")) == 0.0
        for how in ({"order": "fixed"}, {"order": "seeded", "seed": 1}, {"order": "exact"}):
            assert float(nondet_ext.sum(x, **how)) > 7.9e-39
        doubles = nondet_ext.sum(x.double() * 2.0**-900, order="atomic")
        assert float(doubles) == float(8 * x[0].double() * 2.0**-900)
