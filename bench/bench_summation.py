"""Compare sums in every order with torch.sum, math.fsum and the machine's read bandwidth."""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import nondet_ext
from harness import Bench, Contender

N = 10**8
THREADS = (1, 2)
DTYPES = (torch.float32, torch.float64)
ORDERS: dict[str, dict[str, object]] = {
    "fixed": {},
    "exact": {"order": "exact"},
    "seeded": {"order": "seeded", "seed": 1},
    "atomic": {"order": "atomic"},
}


@contextmanager
def threads_of_torch(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def values(n: int, dtype: torch.dtype) -> torch.Tensor:
    return nondet_ext.philox_normal(n, seed=1, dtype=dtype)


def read_ceiling(x: torch.Tensor, threads: int) -> Contender:
    """Return a ceiling that only reads every byte: NumPy's integer maximum, one part per thread."""
    words = x.reshape(-1).numpy().view(f"i{x.itemsize}")
    parts = np.array_split(words, threads)
    pool = ThreadPoolExecutor(threads)
    return Contender(
        "read (NumPy integer max, a part a thread)",
        "ceiling",
        lambda: list(pool.map(np.max, parts)),
        words.nbytes,
    )


def agrees(result: torch.Tensor, x: torch.Tensor, dims: tuple[int, ...]) -> None:
    """Check that the result is within the worst case of recursive summation, which every order
    keeps.
    """
    reference = x.double().sum(dims)
    count = x.numel() // max(result.numel(), 1)
    unit = torch.finfo(x.dtype).eps
    limit = count * unit * x.double().abs().sum(dims) + 1e-300
    assert bool(((result.double() - reference).abs() <= limit).all())


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
@pytest.mark.parametrize("who", ["fixed", "torch", "read"])
def test_fixed_sum(bench: Bench, who: str, dtype: torch.dtype, threads: int) -> None:
    x = values(bench.size(N), dtype)
    moved = x.numel() * x.itemsize
    with threads_of_torch(threads):
        agrees(nondet_ext.sum(x), x, (0,))
        contenders = {
            "fixed": Contender("sum", "ours", lambda: nondet_ext.sum(x), moved),
            "torch": Contender("torch.sum", "peer", lambda: torch.sum(x), moved),
            "read": read_ceiling(x, threads),
        }
        bench.time(f"sum {name_of(dtype)}, 1e8, {threads} threads", contenders[who])


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
@pytest.mark.parametrize("who", ["exact", "torch"])
def test_exact_sum(bench: Bench, who: str, dtype: torch.dtype, threads: int) -> None:
    x = values(bench.size(N), dtype)
    moved = x.numel() * x.itemsize
    with threads_of_torch(threads):
        contenders = {
            "exact": Contender(
                "sum, exact", "ours", lambda: nondet_ext.sum(x, order="exact"), moved
            ),
            "torch": Contender("torch.sum", "peer", lambda: torch.sum(x), moved),
        }
        agrees(contenders["exact"].run(), x, (0,))
        bench.time(f"exact sum {name_of(dtype)}, 1e8, {threads} threads", contenders[who])


@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
@pytest.mark.parametrize("who", ["exact", "fsum"])
def test_exact_sum_against_fsum(bench: Bench, who: str, dtype: torch.dtype) -> None:
    x = values(bench.size(10**7), dtype)
    array = x.double().numpy()
    moved = x.numel() * x.itemsize
    contenders = {
        "exact": Contender("sum, exact", "ours", lambda: nondet_ext.sum(x, order="exact"), moved),
        "fsum": Contender("math.fsum", "peer", lambda: math.fsum(array), moved),
    }
    assert contenders["exact"].run().item() == np.dtype(name_of(dtype)).type(math.fsum(array))
    bench.time(f"exact sum {name_of(dtype)}, 1e7", contenders[who], rounds=3)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("who", list(ORDERS))
def test_orders(bench: Bench, who: str, threads: int) -> None:
    x = values(bench.size(N), torch.float32)
    with threads_of_torch(threads):
        contenders = {
            order: Contender(
                f"sum, {order}",
                "ours" if order == "fixed" else "peer",
                lambda arguments=arguments: nondet_ext.sum(x, **arguments),
                4 * x.numel(),
            )
            for order, arguments in ORDERS.items()
        }
        agrees(contenders[who].run(), x, (0,))
        bench.time(f"orders of a sum, float32, 1e8, {threads} threads", contenders[who])


SHAPES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "dim 0 of 1e4 x 1e4": ((10**4, 10**4), (0,)),
    "dim 0 of 1e5 x 1e3": ((10**5, 10**3), (0,)),
    "dim 0 of 1e3 x 1e5": ((10**3, 10**5), (0,)),
    "dim 1 of 1e4 x 1e4": ((10**4, 10**4), (1,)),
    "(0, 2, 3) of 128 x 64 x 112 x 112": ((128, 64, 112, 112), (0, 2, 3)),
    "(0, 2, 3) of 1024 x 512 x 14 x 14": ((1024, 512, 14, 14), (0, 2, 3)),
}


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("case", list(SHAPES))
@pytest.mark.parametrize("who", ["fixed", "torch"])
def test_dims(bench: Bench, who: str, case: str, threads: int) -> None:
    shape, dims = SHAPES[case]
    if bench.smoke:
        shape = tuple(max(size // 32, 2) for size in shape)
    x = values(math.prod(shape), torch.float32).view(shape)
    with threads_of_torch(threads):
        moved = 4 * x.numel()
        contenders = {
            "fixed": Contender("sum", "ours", lambda: nondet_ext.sum(x, dims), moved),
            "torch": Contender("torch.sum", "peer", lambda: torch.sum(x, dims), moved),
        }
        agrees(contenders[who].run(), x, dims)
        bench.time(f"sum over {case}, {threads} threads", contenders[who])


@pytest.mark.parametrize("n", [100, 10_000, 100_000])
@pytest.mark.parametrize("who", ["fixed", "torch"])
def test_small_calls(bench: Bench, who: str, n: int) -> None:
    x = values(n, torch.float32)
    calls = 10 if bench.smoke else 1000

    def repeat(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(calls):
                function(x)

        return run

    contenders = {
        "fixed": Contender("sum", "ours", repeat(nondet_ext.sum), 4 * n * calls),
        "torch": Contender("torch.sum", "peer", repeat(torch.sum), 4 * n * calls),
    }
    bench.time(f"a thousand sums of {n} float32", contenders[who])


@pytest.mark.parametrize("order", ["fixed", "seeded", "exact"])
@pytest.mark.parametrize("who", ["accumulate", "torch"])
def test_accumulate(bench: Bench, who: str, order: str) -> None:
    x = values(8 * bench.size(10**7), torch.float32).view(8, -1)
    contenders = {
        "accumulate": Contender(
            f"accumulate, {order}",
            "ours",
            lambda: nondet_ext.accumulate(x, **ORDERS[order]),
            4 * x.numel(),
        ),
        "torch": Contender("torch.sum(0)", "peer", lambda: torch.sum(x, 0), 4 * x.numel()),
    }
    agrees(contenders[who].run(), x, (0,))
    bench.time(f"accumulate 8 partials of 1e7 float32, {order}", contenders[who])
