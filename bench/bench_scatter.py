"""Compare scatter-like sums in every order with torch.index_add_, with and without torch's
deterministic algorithms.
"""

from collections.abc import Callable

import pytest
import torch

import nondet_ext
from bench_summation import ORDERS, threads_of_torch
from harness import Bench, Contender

SIZES = {
    "1e7 into 1e3": (10**7, 10**3, 1),
    "1e7 into 1e6": (10**7, 10**6, 1),
    "1e6 rows of 64 into 1e3": (10**6, 10**3, 64),
    "1e6 rows of 64 into 1e6": (10**6, 10**6, 64),
}
PEERS = {
    "torch, 1 thread": (1, False),
    "torch, 2 threads": (2, False),
    "torch, 2 threads, deterministic": (2, True),
}


def torch_peer(
    name: str, out: torch.Tensor, index: torch.Tensor, source: torch.Tensor
) -> Callable[[], torch.Tensor]:
    threads, deterministic = PEERS[name]

    def run() -> torch.Tensor:
        torch.use_deterministic_algorithms(deterministic)
        try:
            with threads_of_torch(threads):
                return out.index_add_(0, index, source)
        finally:
            torch.use_deterministic_algorithms(False)

    return run


@pytest.mark.parametrize("case", list(SIZES))
@pytest.mark.parametrize("who", [*ORDERS, *PEERS])
def test_index_add(bench: Bench, who: str, case: str) -> None:
    n, bins, columns = SIZES[case]
    n, bins = bench.size(n), bench.size(bins)
    shape = (n, columns) if columns > 1 else (n,)
    source = nondet_ext.philox_normal(shape, seed=1)
    index = nondet_ext.philox_randint(0, bins, n, seed=2)
    out = torch.zeros((bins, *shape[1:]))
    moved = 8 * n + 4 * source.numel() + 8 * out.numel()
    if who in PEERS:
        contender = Contender(who, "peer", torch_peer(who, out, index, source), moved)
    else:
        arguments = ORDERS[who]
        contender = Contender(
            f"index_add_, {who}",
            "ours" if who == "fixed" else "peer",
            lambda: nondet_ext.index_add_(out, 0, index, source, **arguments),
            moved,
        )
    reference = torch.zeros(out.shape, dtype=torch.float64).index_add_(0, index, source.double())
    limit = torch.zeros(out.shape, dtype=torch.float64).index_add_(0, index, source.abs().double())
    result = contender.run().double()
    assert bool(((result - reference).abs() <= n * 2.0**-24 * limit).all())
    del reference, limit, result
    out.zero_()
    with threads_of_torch(2):
        bench.time(f"index_add, float32, {case}", contender, rounds=5)
