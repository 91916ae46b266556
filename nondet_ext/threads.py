"""The number of threads of CPU kernels."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_racing = threading.local()


@contextmanager
def racing_threads(least: int) -> Iterator[None]:
    """At least so many threads for the CPU kernels that this thread calls: an atomic sum races also
    where torch computes with one thread.
    """
    before = getattr(_racing, "least", 1)
    _racing.least = least
    try:
        yield
    finally:
        _racing.least = before


def cpu_threads() -> int:
    """With how many threads a CPU kernel is to compute."""
    return max(torch.get_num_threads(), getattr(_racing, "least", 1))
