"""Measure how times grow with the size: n elements, R models, or threads; with peers, and with the
time in which the machine's memory moves as many bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import scipy.stats
import torch

import nondet_ext
from bench_cka import pair_by_pair_cached, representations
from bench_correlation import logits
from harness import Bench, Contender, copy_ceilings, read_ceiling, repeat, threads_of_torch

pytestmark = pytest.mark.growth

SIZES = (*(step * 10**power for power in range(3, 9) for step in (1, 3)), 10**9)
MODELS = (2, 5, 10, 20, 50, 100, 200, 400)
THREADS = (1, 2, 4, 8)
MEMORY_SHARE = 0.7
"""The share of the free memory that a case may use."""
WORK = 10**6
"""Small cases repeat until they have handled so many elements, since a clock reads microseconds."""


def free_memory() -> int:
    """Return the number of bytes that can be allocated, as Linux estimates it."""
    info = Path("/proc/meminfo")
    if not info.exists():
        return 4 * 10**9
    lines = dict(line.split(":") for line in info.read_text().splitlines())
    return 1024 * int(lines["MemAvailable"].split()[0])


Run = Callable[[], object]


@dataclass(frozen=True)
class Family:
    """An op with a peer: `runs` makes both functions from a tensor (n,) float32. moved, needs: how
    many bytes each element moves, and holds. largest: the largest n.
    """

    runs: Callable[[torch.Tensor], tuple[Run, Run]]
    peer: str
    moved: int = 4
    needs: int = 4
    largest: int = SIZES[-1]


def index_of(x: torch.Tensor) -> torch.Tensor:
    """Return an index of n elements into n / 10 destinations."""
    return nondet_ext.philox_randint(0, len(x) // 10, len(x), seed=2)


def index_add_runs(x: torch.Tensor) -> tuple[Run, Run]:
    index, out = index_of(x), torch.zeros(len(x) // 10)
    return (
        lambda: nondet_ext.index_add_(out, 0, index, x),
        lambda: out.index_add_(0, index, x),
    )


def next_up_runs(x: torch.Tensor) -> tuple[Run, Run]:
    infinity = torch.full((), torch.inf)
    return lambda: nondet_ext.next_up(x), lambda: torch.nextafter(x, infinity)


FAMILIES = {
    "sum": Family(lambda x: (lambda: nondet_ext.sum(x), lambda: torch.sum(x)), "torch.sum"),
    "fingerprint": Family(
        lambda x: (lambda: nondet_ext.fingerprint(x), lambda: torch.hash_tensor(x)),
        "torch.hash_tensor",
    ),
    "next_up": Family(next_up_runs, "torch.nextafter", moved=8, needs=12, largest=10**8),
    "index_add_": Family(index_add_runs, "torch.index_add_", moved=13, needs=16, largest=10**8),
    "philox_uniform": Family(
        lambda x: (lambda: nondet_ext.philox_uniform(len(x), seed=1), lambda: torch.rand(len(x))),
        "torch.rand",
        needs=12,
        largest=10**8,
    ),
    "rankdata": Family(
        lambda x: (lambda: nondet_ext.rankdata(x), lambda: scipy.stats.rankdata(x.numpy())),
        "scipy.stats.rankdata",
        moved=12,
        needs=64,
        largest=10**7,
    ),
}


@pytest.mark.parametrize(
    ("name", "n"),
    [(name, n) for name, family in FAMILIES.items() for n in SIZES if n <= family.largest],
)
def test_elements(bench: Bench, name: str, n: int) -> None:
    family = FAMILIES[name]
    if family.needs * n > MEMORY_SHARE * free_memory():
        pytest.skip(f"{name} of {n:.0e} elements needs {family.needs * n / 1e9:.0f} GB of memory")
    size = bench.size(n)
    x = nondet_ext.philox_normal(size, seed=1)
    calls = 1 if bench.smoke else max(WORK // n, 1)
    moved = family.moved * size
    ours, peer = family.runs(x)
    contenders = [
        Contender(who, role, partial(repeat, run, calls), moved, share=float(calls))
        for who, role, run in [(name, "ours", ours), (family.peer, "peer", peer)]
    ]
    if 10**7 <= n <= 10**8:  # rates of the machine: larger than its caches, and no larger
        contenders += [read_ceiling(x, torch.get_num_threads())]
        contenders += copy_ceilings(4 * size) if name == "next_up" else []
    bench.time(f"growth of {name}, n = {n:,}, float32", *contenders, family=f"{name}, n", size=n)


@pytest.mark.parametrize("models", MODELS)
def test_spearman(bench: Bench, models: int) -> None:
    x = logits(min(models, 8) if bench.smoke else models, 1000)
    array = x.numpy()
    bench.time(
        f"growth of Spearman, R = {models}, n = 1,000, float32",
        Contender("spearman", "ours", lambda: nondet_ext.spearman(x), x.nbytes),
        Contender(
            "scipy.stats.spearmanr",
            "peer",
            lambda: scipy.stats.spearmanr(array, axis=1),
            x.nbytes,
        ),
        family="Spearman of n = 1,000, R",
        size=models,
    )


@pytest.mark.parametrize("models", MODELS)
def test_cka(bench: Bench, models: int) -> None:
    x = representations(min(models, 8) if bench.smoke else models, 200, 16)
    bench.time(
        f"growth of CKA, R = {models}, N = 200, p = 16, float32",
        Contender("linear_cka", "ours", lambda: nondet_ext.linear_cka(x), x.nbytes),
        Contender(
            "pair by pair in torch, self terms cached",
            "peer",
            lambda: pair_by_pair_cached(x),
            x.nbytes,
            rounds=3,
        ),
        family="CKA of N = 200, p = 16, R",
        size=models,
    )


def threaded(name: str, bench: Bench) -> Callable[[], torch.Tensor | int]:
    """Return an op on inputs that are large enough to be shared out."""
    x = nondet_ext.philox_normal(bench.size(10**7), seed=1)
    index = index_of(x)
    rows = x[: len(x) // 1000 * 1000].view(-1, 1000)
    models = logits(8 if bench.smoke else 50, bench.size(10**5))
    return {
        "sum": lambda: nondet_ext.sum(x),
        "sum, exact": lambda: nondet_ext.sum(x, order="exact"),
        "sum, seeded": lambda: nondet_ext.sum(x, order="seeded", seed=1),
        "sum over dim 0": lambda: nondet_ext.sum(rows, 0),
        "accumulate": lambda: nondet_ext.accumulate(rows.view(8, -1)),
        "index_add": lambda: nondet_ext.index_add(torch.zeros(len(x) // 10), 0, index, x),
        "next_up": lambda: nondet_ext.next_up(x),
        "philox_normal": lambda: nondet_ext.philox_normal(len(x), seed=1),
        "fingerprint": lambda: nondet_ext.fingerprint(x),
        "spearman": lambda: nondet_ext.spearman(models),
    }[name]


THREADED = (
    "sum",
    "sum, exact",
    "sum, seeded",
    "sum over dim 0",
    "accumulate",
    "index_add",
    "next_up",
    "philox_normal",
    "fingerprint",
    "spearman",
)


def bits(result: torch.Tensor | int) -> int:
    return result if isinstance(result, int) else nondet_ext.fingerprint(result)


@pytest.mark.parametrize("name", THREADED)
def test_threads(bench: Bench, name: str) -> None:
    run = threaded(name, bench)

    def with_threads(count: int) -> torch.Tensor | int:
        with threads_of_torch(count):
            return run()

    alone = partial(with_threads, 1)
    expected = bits(alone())
    for count in THREADS:
        many = partial(with_threads, count)
        assert bits(many()) == expected  # the number of threads changes no bit
        bench.time(
            f"{name}, {count} of {max(THREADS)} threads",
            Contender(name, "ours", many, 0),
            Contender("1 thread", "peer", alone, 0),
            rounds=9,
            family=f"{name}, threads",
            size=count,
        )
