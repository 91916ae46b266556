"""Compare scatter-like sums in every order with torch.index_add_, with and without torch's
deterministic algorithms, with one thread, and with the fixed order.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import torch

import nondet_ext
from bench_summation import ORDERS
from harness import Bench, Contender, counted, threads_of_torch

SIZES = {
    "1e7 into 1e3": (10**7, 10**3, 1),
    "1e7 into 1e6": (10**7, 10**6, 1),
    "1e6 rows of 64 into 1e3": (10**6, 10**3, 64),
    "1e6 rows of 64 into 1e6": (10**6, 10**6, 64),
}
WANTED = {"fixed": 1.3, "seeded": 0.9, "exact": 0.6}
"""The least ratios of 1e7 into 1e6, two threads, to torch."""
WANTED_RACE = 1 / 1.2
"""The least ratio of a race to the fixed order, two threads."""
RACES = ("1e7 into 1e3", "1e6 rows of 64 into 1e6")


@contextmanager
def deterministic_torch() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


class Scatter:
    """The tensors of a size, and functions that add them up."""

    def __init__(self, bench: Bench, case: str) -> None:
        n, bins, columns = SIZES[case]
        n, bins = bench.size(n), bench.size(bins)
        shape = (n, columns) if columns > 1 else (n,)
        self.source = nondet_ext.philox_normal(shape, seed=1)
        self.index = nondet_ext.philox_randint(0, bins, n, seed=2)
        self.out = torch.zeros((bins, *shape[1:]))
        self.moved = 8 * n + 4 * self.source.numel() + 8 * self.out.numel()

    def add(self, order: str) -> torch.Tensor:
        return nondet_ext.index_add_(self.out, 0, self.index, self.source, **ORDERS[order])

    def add_by_torch(self) -> torch.Tensor:
        return self.out.index_add_(0, self.index, self.source)

    def add_by_torch_deterministic(self) -> torch.Tensor:
        with deterministic_torch():
            return self.add_by_torch()

    def check(self, *adds: Callable[[], torch.Tensor]) -> None:
        """Check that results are within the worst case of sums in any order."""
        kind = {"dtype": torch.float64}
        reference = torch.zeros(self.out.shape, **kind)
        reference.index_add_(0, self.index, self.source.double())
        limit = torch.zeros(self.out.shape, **kind)
        limit.index_add_(0, self.index, self.source.double().abs_())
        limit *= len(self.source) * 2.0**-24
        for add in adds:
            self.out.zero_()
            assert bool(((add().double() - reference).abs() <= limit).all())
        self.out.zero_()


def marks(case: str, order: str) -> list[pytest.MarkDecorator]:
    in_table = case in RACES if order == "atomic" else case == "1e7 into 1e6"
    return [pytest.mark.table] if in_table else []


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("case", "order"),
    [
        pytest.param(case, order, marks=marks(case, order), id=f"{case}, {order}")
        for case in SIZES
        for order in ORDERS
    ],
)
def test_index_add(bench: Bench, case: str, order: str, threads: int) -> None:
    sums = Scatter(bench, case)
    ours = partial(sums.add, order)

    def by_one_thread() -> torch.Tensor:
        with threads_of_torch(1):
            return ours()

    both = threads == 2
    peers = {"torch.index_add_": sums.add_by_torch}
    if order == "fixed":
        peers["torch.index_add_, deterministic"] = sums.add_by_torch_deterministic
    wanted: dict[str, float | None] = {
        "torch.index_add_": WANTED.get(order) if both and case == "1e7 into 1e6" else None
    }
    if both:
        peers["the same with 1 thread"] = by_one_thread
        wanted["the same with 1 thread"] = 1.0
    if order != "fixed":
        peers["index_add_, fixed"] = partial(sums.add, "fixed")
    if order == "atomic" and both and case in RACES:
        wanted["index_add_, fixed"] = WANTED_RACE
    with threads_of_torch(threads):
        sums.check(ours, *peers.values())
        bench.time(
            f"index_add, float32, {case}, {order}, {counted(threads)}",
            Contender(f"index_add_, {order}", "ours", ours, sums.moved),
            *(
                Contender(name, "peer", run, sums.moved, wanted=wanted.get(name))
                for name, run in peers.items()
            ),
            rounds=5,
        )
