"""Measure a case: check it, time it, and record the bytes that it must move.

A case is a group of contenders in one run: "ours", peers, and ceilings (the best that the machine's
memory allows). Each timing records its role and its bytes, from which bench/report.py computes
rates and ratios.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture


@dataclass(frozen=True)
class Contender:
    """A contender: `run` does the work once; `moved` is the least number of bytes read and written.

    A contender that is too slow does only a `share` of the work and says so in its name; its time
    is extrapolated to the whole. `notes` are further numbers, by name with unit.
    """

    name: str
    role: str  # "ours", "peer" or "ceiling"
    run: Callable[[], object]
    moved: int
    share: float = 1.0
    notes: dict[str, float] = field(default_factory=dict)


def copy_ceilings(moved: int) -> dict[str, Contender]:
    """Return copies that move as many bytes as the case: torch's, and NumPy's with one part per
    thread.
    """
    source = torch.ones(moved // 8, dtype=torch.float32)
    target = torch.zeros_like(source)
    threads = torch.get_num_threads()
    parts = [
        (to.numpy(), of.numpy())
        for to, of in zip(target.chunk(threads), source.chunk(threads), strict=True)
    ]
    pool = ThreadPoolExecutor(threads)

    def copy_parts() -> None:
        list(pool.map(lambda part: np.copyto(*part), parts))

    return {
        "copy (torch)": Contender("torch copy_", "ceiling", lambda: target.copy_(source), moved),
        "copy (NumPy)": Contender("numpy.copyto, a part a thread", "ceiling", copy_parts, moved),
    }


class Bench:
    """The fixture `bench`: it chooses sizes by mode and times one contender per test."""

    def __init__(self, benchmark: BenchmarkFixture, smoke: bool) -> None:
        self._benchmark = benchmark
        self.smoke = smoke

    def size(self, full: int) -> int:
        """Return the size of a case; a thousandth of it in a smoke run."""
        return max(full // 1000, 1000) if self.smoke else full

    def time(self, case: str, contender: Contender, rounds: int = 7) -> None:
        self._benchmark.group = case
        self._benchmark.name = contender.name
        self._benchmark.extra_info.update(
            role=contender.role,
            moved=contender.moved,
            threads=torch.get_num_threads(),
            share=contender.share,
        )
        warmup = 1 if rounds > 1 else 0
        self._benchmark.pedantic(
            contender.run, rounds=1 if self.smoke else rounds, warmup_rounds=warmup
        )
        self._benchmark.extra_info["notes"] = contender.notes


@pytest.fixture
def bench(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Bench:
    return Bench(benchmark, request.config.getoption("--smoke"))
