"""Test sums under many schedules: reproducible orders give the CPU's result, the atomic order gives
several results within its bound.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch

import nondet_ext
from emulation.fixtures import running_on

# Two tiles, the second partly filled; in the seeded order a part has two elements.
N = 1100


def mixed_magnitudes(n: int) -> torch.Tensor:
    rng = np.random.default_rng(23)
    return torch.from_numpy(
        (rng.standard_normal(n) * 2.0 ** rng.integers(-8, 8, n)).astype(np.float32)
    )


X = mixed_magnitudes(N * 33).reshape(N, 33)
INDEX = torch.from_numpy(np.random.default_rng(29).integers(0, 7, 300))
OFFSETS = torch.tensor([0, 0, 3, 1090, N])

WORKS: dict[str, Callable[..., torch.Tensor]] = {
    "one row": lambda **order: nondet_ext.sum(X[:, 0], **order),
    "rows": lambda **order: nondet_ext.mean(X[:20, :9], 1, **order),
    "columns": lambda **order: nondet_ext.sum(X[:200], 0, **order),
    "dot": lambda **order: nondet_ext.dot(X[:, 1].double(), X[:, 2].double(), **order),
    "segments": lambda **order: nondet_ext.segment_sum(X[:, 3], OFFSETS, **order),
    "wide segments": lambda **order: nondet_ext.segment_sum(
        X[:50, :9].bfloat16(), torch.tensor([0, 3, 50]), **order
    ),
    "destinations": lambda **order: nondet_ext.index_add(
        X[:7, :2].half(), 0, INDEX, X[:300, 4:6].half(), **order
    ),
}


@pytest.mark.parametrize("work", WORKS)
@pytest.mark.parametrize("order", ["fixed", "exact", "seeded"])
@pytest.mark.parametrize(
    ("backend", "schedules"),
    [
        ("emulated", 400),
        pytest.param("emulated", 2000, marks=pytest.mark.slow),
        ("race", 200),
        ("ptx", 200),
    ],
)
def test_one_result_over_all_schedules(work: str, order: str, backend: str, schedules: int) -> None:
    arguments = {"order": order, **({"seed": (5, 1)} if order == "seeded" else {})}
    expected = WORKS[work](**arguments)
    if order == "seeded":  # slow: hundreds of parts, each a group of lanes
        schedules //= 10
    with running_on(backend) as module:
        assert module is not None
        for seed in range(schedules):
            module.emulation.configure(seed)
            result = WORKS[work](**arguments)
            assert torch.equal(result, expected), f"schedule {seed}"


# More tiles than lanes, so the tree over tiles is complete.
LONG = mixed_magnitudes(34_000)
ENDS = torch.tensor([0, 7, 34_000])
TALL: dict[str, Callable[..., torch.Tensor]] = {
    "columns": lambda **order: nondet_ext.sum(X, 0, **order),
    "segments": lambda **order: nondet_ext.segment_sum(LONG, ENDS, **order),
    "wide segments": lambda **order: nondet_ext.segment_sum(
        LONG[:, None].expand(-1, 8), ENDS, **order
    ),
}


@pytest.mark.parametrize("work", TALL)
@pytest.mark.parametrize("backend", ["emulated", "race", "ptx"])
def test_many_tiles(work: str, backend: str) -> None:
    for order in ({"order": "fixed"}, {"order": "exact"}, {"order": "seeded", "seed": 8}):
        expected = TALL[work](**order)
        with running_on(backend) as module:
            assert module is not None
            for seed in range(2):
                module.emulation.configure(seed)
                assert torch.equal(TALL[work](**order), expected)


# Name -> (the elements that are added, for the bound; the op).
ATOMIC = {
    "one row": (lambda: X[:, 0], lambda x: nondet_ext.sum(x, order="atomic")),
    "columns": (lambda: X[:200], lambda x: nondet_ext.sum(x, 0, order="atomic")),
    "dot": (lambda: X[:, 1], lambda x: nondet_ext.dot(x, torch.ones(N), order="atomic")),
    "segments": (
        lambda: X[:120, :9],
        lambda x: nondet_ext.segment_sum(x, torch.tensor([0, 120]), order="atomic")[0],
    ),
    "destinations": (
        lambda: X[:300, :2],
        lambda x: nondet_ext.index_add(
            torch.zeros(1, 2), 0, torch.zeros(300, dtype=torch.int64), x, order="atomic"
        )[0],
    ),
}


@pytest.mark.parametrize("work", ATOMIC)
@pytest.mark.parametrize(("backend", "schedules"), [("emulated", 60), ("race", 10), ("ptx", 30)])
def test_a_race_has_several_results(work: str, backend: str, schedules: int) -> None:
    inputs, add = ATOMIC[work]
    x = inputs()
    results = []
    with running_on(backend) as module:
        assert module is not None
        for seed in range(schedules):
            module.emulation.configure(seed)
            results.append(add(x))
    assert len({result.numpy().tobytes() for result in results}) > schedules // 10 + 1
    # Recursive summation: |error| <= n u / (1 - n u) * sum |x| (Higham 2002, section 4.2).
    n, u = x.shape[0], 2.0**-24
    bound = n * u / (1 - n * u) * x.double().abs().sum(0)
    exact = x.double().sum(0)
    assert all(bool(((result.double() - exact).abs() <= bound).all()) for result in results)


def test_seeds_spread_as_schedules_do() -> None:
    x = mixed_magnitudes(2000)
    seeded = [float(nondet_ext.sum(x, order="seeded", seed=seed)) for seed in range(1000)]
    raced = []
    with running_on("emulated") as module:
        assert module is not None
        for seed in range(1, 1001):
            module.emulation.configure(seed)
            raced.append(float(nondet_ext.sum(x, order="atomic")))
    assert len(set(seeded)) > 20
    assert len(set(raced)) > 20
    assert 1 / 1.5 < np.std(seeded) / np.std(raced) < 1.5
