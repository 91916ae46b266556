"""Repeat a race until its results differ, which the library promises within a few calls."""

import os
import subprocess
import sys
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pytest
import torch

T = TypeVar("T")

CALLS = 200
"""Calls after which a race without different results is a failure, on any machine."""


def race(run: Callable[[], T], *, wanted: int = 2, calls: int = CALLS) -> list[T]:
    """Call run() until `wanted` results differ and return these, in the order in which they came.

    The test fails after so many calls. Tensors are compared bit by bit, other results as members of
    a set.
    """
    found: dict[Hashable, T] = {}
    for _ in range(calls):
        result = run()
        found.setdefault(_key(result), result)
        if len(found) == wanted:
            return list(found.values())
    pytest.fail(f"{calls} calls had {len(found)} different results, {wanted} are expected")


def different(run: Callable[[], T], calls: int) -> list[T]:
    """Return the different results of so many calls."""
    found: dict[Hashable, T] = {}
    for _ in range(calls):
        result = run()
        found.setdefault(_key(result), result)
    return list(found.values())


@contextmanager
def one_busy_core() -> Iterator[None]:
    """Run all threads of this process on one core, beside two processes that compute there without
    end.
    """
    allowed = os.sched_getaffinity(0)
    core = min(allowed)
    code = f"import os; os.sched_setaffinity(0, {{{core}}}); print(flush=True)\nwhile True: pass"
    busy = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(2)
    ]
    try:
        for each in busy:
            assert each.stdout is not None
            each.stdout.readline()
        _set_cores({core})
        yield
    finally:
        _set_cores(allowed)  # also of threads that were started meanwhile and live on
        for each in busy:
            each.kill()
            each.communicate()


def _set_cores(cores: set[int]) -> None:
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(int(thread.name), cores)


def _key(result: object) -> Hashable:
    if isinstance(result, torch.Tensor):
        return result.detach().reshape(-1).view(torch.uint8).numpy().tobytes()
    assert isinstance(result, Hashable)
    return result
