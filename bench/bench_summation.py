"""Compare sums in every order with torch.sum, math.fsum and the machine's read bandwidth."""

import math
from functools import partial

import numpy as np
import pytest
import torch

import nondet_ext
from harness import Bench, Contender, counted, name_of, read_ceiling, repeat, threads_of_torch

N = 10**8
THREADS = (1, 2)
DTYPES = (torch.float32, torch.float64)
ORDERS: dict[str, dict[str, object]] = {
    "fixed": {},
    "exact": {"order": "exact"},
    "seeded": {"order": "seeded", "seed": 1},
    "atomic": {"order": "atomic"},
}


def values(n: int, dtype: torch.dtype) -> torch.Tensor:
    return nondet_ext.philox_normal(n, seed=1, dtype=dtype)


def agrees(result: torch.Tensor, x: torch.Tensor, dims: tuple[int, ...]) -> None:
    """Check that the result is within the worst case of recursive summation, which every order
    keeps.
    """
    kind = {"dtype": torch.float64}
    reference = x.sum(dims, **kind)
    count = x.numel() // max(result.numel(), 1)
    unit = torch.finfo(x.dtype).eps
    limit = count * unit * torch.linalg.vector_norm(x, 1, dims, **kind) + 1e-300
    assert bool(((result.double() - reference).abs() <= limit).all())


@pytest.mark.table
@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
def test_fixed_sum(bench: Bench, dtype: torch.dtype, threads: int) -> None:
    x = values(bench.size(N), dtype)
    moved = x.numel() * x.itemsize
    with threads_of_torch(threads):
        agrees(nondet_ext.sum(x), x, (0,))
        bench.time(
            f"sum {name_of(dtype)}, 1e8, {counted(threads)}",
            Contender("sum", "ours", lambda: nondet_ext.sum(x), moved),
            Contender("torch.sum", "peer", lambda: torch.sum(x), moved, wanted=1.0),
            read_ceiling(x, threads),
        )


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
def test_exact_sum(bench: Bench, dtype: torch.dtype, threads: int) -> None:
    x = values(bench.size(N), dtype)
    moved = x.numel() * x.itemsize
    ours = partial(nondet_ext.sum, x, order="exact")
    with threads_of_torch(threads):
        agrees(ours(), x, (0,))
        bench.time(
            f"exact sum {name_of(dtype)}, 1e8, {counted(threads)}",
            Contender("sum, exact", "ours", ours, moved),
            Contender("torch.sum", "peer", lambda: torch.sum(x), moved),
        )


@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
def test_exact_sum_against_fsum(bench: Bench, dtype: torch.dtype) -> None:
    x = values(bench.size(10**7), dtype)
    array = x.double().numpy()
    moved = x.numel() * x.itemsize
    ours = partial(nondet_ext.sum, x, order="exact")
    assert ours().item() == np.dtype(name_of(dtype)).type(math.fsum(array))
    bench.time(
        f"exact sum {name_of(dtype)}, 1e7",
        Contender("sum, exact", "ours", ours, moved),
        Contender("math.fsum", "peer", lambda: math.fsum(array), moved),
        rounds=3,
    )


@pytest.mark.parametrize("threads", THREADS)
def test_orders(bench: Bench, threads: int) -> None:
    x = values(bench.size(N), torch.float32)
    with threads_of_torch(threads):
        contenders = [
            Contender(
                f"sum, {order}",
                "ours" if order == "fixed" else "peer",
                partial(nondet_ext.sum, x, **arguments),
                4 * x.numel(),
            )
            for order, arguments in ORDERS.items()
        ]
        for each in contenders:
            agrees(each.run(), x, (0,))
        bench.time(f"orders of a sum, float32, 1e8, {counted(threads)}", *contenders)


SHAPES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "dim 0 of 1e4 x 1e4": ((10**4, 10**4), (0,)),
    "dim 0 of 1e5 x 1e3": ((10**5, 10**3), (0,)),
    "dim 0 of 1e3 x 1e5": ((10**3, 10**5), (0,)),
    "dim 1 of 1e4 x 1e4": ((10**4, 10**4), (1,)),
    "(0, 2, 3) of 128 x 64 x 112 x 112": ((128, 64, 112, 112), (0, 2, 3)),
    "(0, 2, 3) of 1024 x 512 x 14 x 14": ((1024, 512, 14, 14), (0, 2, 3)),
}
IN_TABLE = ("dim 0 of 1e3 x 1e5", "dim 1 of 1e4 x 1e4", "(0, 2, 3) of 128 x 64 x 112 x 112")


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[pytest.mark.table] if case in IN_TABLE else [], id=case)
        for case in SHAPES
    ],
)
def test_dims(bench: Bench, case: str, threads: int) -> None:
    shape, dims = SHAPES[case]
    if bench.smoke:
        shape = tuple(max(size // 32, 2) for size in shape)
    x = values(math.prod(shape), torch.float32).view(shape)
    moved = 4 * x.numel()
    wanted = 1.0 if case in IN_TABLE else None
    with threads_of_torch(threads):
        agrees(nondet_ext.sum(x, dims), x, dims)
        bench.time(
            f"sum over {case}, {counted(threads)}",
            Contender("sum", "ours", lambda: nondet_ext.sum(x, dims), moved),
            Contender("torch.sum", "peer", lambda: torch.sum(x, dims), moved, wanted=wanted),
        )


@pytest.mark.table
@pytest.mark.parametrize(("n", "wanted"), [(100, 1.3), (10_000, 1.1), (100_000, 1.0)])
def test_small_calls(bench: Bench, n: int, wanted: float) -> None:
    x = values(n, torch.float32)
    calls = 10 if bench.smoke else 1000
    moved = 4 * n * calls
    agrees(nondet_ext.sum(x), x, (0,))
    bench.time(
        f"a thousand sums of {n} float32",
        Contender("sum", "ours", partial(repeat, lambda: nondet_ext.sum(x), calls), moved),
        Contender(
            "torch.sum", "peer", partial(repeat, lambda: torch.sum(x), calls), moved, wanted=wanted
        ),
        rounds=21,
    )


@pytest.mark.table
@pytest.mark.parametrize(("order", "wanted"), [("fixed", 1.0), ("seeded", 0.95), ("exact", 0.5)])
def test_accumulate(bench: Bench, order: str, wanted: float) -> None:
    x = values(8 * bench.size(10**7), torch.float32).view(8, -1)
    ours = partial(nondet_ext.accumulate, x, **ORDERS[order])
    agrees(ours(), x, (0,))
    bench.time(
        f"accumulate 8 partials of 1e7 float32, {order}",
        Contender(f"accumulate, {order}", "ours", ours, 4 * x.numel()),
        Contender("torch.sum(0)", "peer", lambda: torch.sum(x, 0), 4 * x.numel(), wanted=wanted),
    )


SMALL_WANTED = {"fixed": 1.0, "seeded": None, "atomic": None, "exact": 0.5}


@pytest.mark.parametrize("columns", [16, 5120, 32768])
@pytest.mark.parametrize(
    "order",
    [
        pytest.param(order, marks=[pytest.mark.table] if wanted else [])
        for order, wanted in SMALL_WANTED.items()
    ],
)
def test_small_accumulations(bench: Bench, columns: int, order: str) -> None:
    partials = values(8 * columns, torch.float32).view(8, columns)
    calls = 5 if bench.smoke else 500
    # A training passes a key of its step.
    key = ORDERS[order] | ({"seed": (1, 2, 3, 0)} if order == "seeded" else {})
    ours = partial(nondet_ext.accumulate, partials, **key)
    error = ours() - partials.double().sum(0)
    assert bool((error.abs() <= 7 * 2.0**-24 * partials.abs().double().sum(0) * 1.01).all())
    moved = 4 * 9 * columns * calls
    with threads_of_torch(1):
        bench.time(
            f"{calls} accumulations of (8, {columns}) float32, {order}, 1 thread",
            Contender(f"accumulate, {order}", "ours", partial(repeat, ours, calls), moved),
            Contender(
                "torch.sum(0)",
                "peer",
                partial(repeat, lambda: partials.sum(0), calls),
                moved,
                wanted=SMALL_WANTED[order],
            ),
            rounds=21,
        )
