"""The number of threads of CPU kernels."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_racing = threading.local()


@contextmanager
def racing_threads(least: int) -> Iterator[None]:
    """Use at least `least` threads in the CPU kernels called from this thread, inside the ``with``
    block: an order="atomic" sum then varies even where torch computes with one thread.
    """
    before = getattr(_racing, "least", 1)
    _racing.least = least
    try:
        yield
    finally:
        _racing.least = before


def cpu_threads() -> int:
    """Return the number of threads for a CPU kernel called now."""
    return max(torch.get_num_threads(), getattr(_racing, "least", 1))
