"""Test that the atomic order of the CUDA kernels races where blocks start as a GPU starts them."""

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
