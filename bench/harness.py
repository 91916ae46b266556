"""Measure a case: check it, time it, and record the bytes that it must move.

A case is a group of contenders in one process: "ours", peers, and ceilings (the best that the
machine's memory allows). The speed of a machine drifts, so a time says little without another
beside it: every run of a peer has a run of ours next to it, and the ratio is taken pair by pair.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from measured import Case, Measured, Timing


@dataclass(frozen=True)
class Contender:
    """A contender: `run` does the work once; `moved` is the least number of bytes read and written.

    A contender that does the work in part or several times says by `share` how much of it; its time
    is divided by it. `rounds` limits the rounds of one that is slow. `wanted` is the least ratio
    that the case should have, its time divided by ours. `notes` are further numbers, by name with
    unit.
    """

    name: str
    role: str  # "ours", "peer" or "ceiling"
    run: Callable[[], object]
    moved: int
    share: float = 1.0
    rounds: int | None = None
    wanted: float | None = None
    notes: dict[str, float] = field(default_factory=dict)

    def seconds(self) -> float:
        """Run once; return the time, extrapolated to the whole work."""
        begin = time.perf_counter()
        self.run()
        return (time.perf_counter() - begin) / self.share


def time_pairs(ours: Contender, other: Contender, rounds: int) -> list[tuple[float, float]]:
    """Return `rounds` pairs of times, ours and the other's. Who goes first alternates."""
    pairs = []
    for turn in range(rounds):
        if turn % 2 == 0:
            mine = ours.seconds()
            theirs = other.seconds()
        else:
            theirs = other.seconds()
            mine = ours.seconds()
        pairs.append((mine, theirs))
    return pairs


class Bench:
    """The fixture `bench`: it chooses sizes by mode, times cases and collects them."""

    def __init__(self, smoke: bool, cases: list[Case]) -> None:
        self.smoke = smoke
        self._cases = cases

    def size(self, full: int) -> int:
        """Return the size of a case; a thousandth of it in a smoke run."""
        return max(full // 1000, 1000) if self.smoke else full

    def time(
        self, case: str, *contenders: Contender, rounds: int = 7, family: str = "", size: int = 0
    ) -> None:
        """Time ours, which is the first contender, in pairs with each of the others.

        family, size: the growth table that the case belongs to, and what it grows with.
        """
        ours, *others = contenders
        assert [each.role for each in contenders].count("ours") == 1
        assert ours.role == "ours"
        if rounds > 1 and not self.smoke:  # what a first run loads, allocates and faults in
            ours.run()
        runs: list[float] = []
        timings = []
        for other in others:
            count = 1 if self.smoke else min(rounds, other.rounds or rounds)
            if count > 1:
                other.run()
            pairs = time_pairs(ours, other, count)
            runs += [mine for mine, _ in pairs]
            ratios = [theirs / mine for mine, theirs in pairs]
            timings.append(Timing([theirs for _, theirs in pairs], ratios, other.notes))
        if not others:
            runs = [ours.seconds() for _ in range(1 if self.smoke else rounds)]
        timings.insert(0, Timing(runs, [], ours.notes))
        measured = [
            Measured(each.name, each.role, each.moved, each.wanted, [timing])
            for each, timing in zip(contenders, timings, strict=True)
        ]
        self._cases.append(Case(case, torch.get_num_threads(), measured, family, size))


@contextmanager
def threads_of_torch(count: int) -> Iterator[None]:
    """Let torch use `count` threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def repeat(step: Callable[[], object], times: int) -> None:
    """Call a function several times."""
    for _ in range(times):
        step()


def name_of(dtype: torch.dtype) -> str:
    """Return the name of a dtype, such as "float32"."""
    return str(dtype).removeprefix("torch.")


def counted(threads: int) -> str:
    """Return "1 thread", "2 threads", ..."""
    return f"{threads} thread" + ("s" if threads > 1 else "")


def copy_ceilings(moved: int) -> list[Contender]:
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

    return [
        Contender("torch copy_", "ceiling", lambda: target.copy_(source), moved),
        Contender("numpy.copyto, a part a thread", "ceiling", copy_parts, moved),
    ]


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


def fill_ceiling(n: int, width: int) -> Contender:
    """Return a ceiling that only writes the same number of bytes."""
    target = torch.zeros(n * width, dtype=torch.uint8)
    return Contender("torch fill_", "ceiling", lambda: target.fill_(7), n * width)
