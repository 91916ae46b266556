"""Wait for a race: repeat it, and let it last longer, until its results differ."""

import math
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

import pytest
import torch

T = TypeVar("T")

DEADLINE = 60.0
"""Seconds after which a race without different results is a failure."""
PATIENCE = 0.1
"""Seconds of computing for which one size is repeated before the next."""


@dataclass(frozen=True)
class Race(Generic[T]):
    """Different results of calls of one size, in the order in which they came."""

    size: int
    results: list[T]


def race(
    run: Callable[[int], T], *, wanted: int = 2, largest: int = 64, deadline: float = DEADLINE
) -> Race[T]:
    """Call run(size) again and again until `wanted` calls of one size had different results.

    On one core, or beside busy processes, threads alternate only where the system interrupts one
    of them, every few milliseconds. So the size doubles from 1 to `largest`, which is repeated
    until `deadline` seconds have passed since the first call. Then the test fails and says what was
    tried. Tensors are compared bit by bit, other results as members of a set.
    """
    end = time.monotonic() + deadline
    tried: list[str] = []
    size = 1
    while True:
        patience = math.inf if size == largest else time.process_time() + PATIENCE
        found: dict[Hashable, T] = {}
        calls = 0
        while len(found) < wanted and (
            calls < wanted or (time.process_time() < patience and time.monotonic() < end)
        ):
            result = run(size)
            found.setdefault(_key(result), result)
            calls += 1
        if len(found) == wanted:
            return Race(size, list(found.values()))
        tried.append(f"size {size}: {len(found)} in {calls} calls")
        if time.monotonic() >= end:
            pytest.fail(f"{wanted} different results in {deadline} s expected; {'; '.join(tried)}")
        size = min(2 * size, largest)


def different(run: Callable[[], T], calls: int) -> list[T]:
    """Return the different results of so many calls."""
    found: dict[Hashable, T] = {}
    for _ in range(calls):
        result = run()
        found.setdefault(_key(result), result)
    return list(found.values())


def _key(result: object) -> Hashable:
    if isinstance(result, torch.Tensor):
        return result.detach().numpy().tobytes()
    assert isinstance(result, Hashable)
    return result
