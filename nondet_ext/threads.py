"""The number of threads of CPU kernels."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_limits = threading.local()


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread in the CPU kernels called from this thread, inside the ``with`` block: small
    sums right after torch's kernels would wait for a core, which torch's threads keep busy for some
    milliseconds after each kernel.
    """
    before = getattr(_limits, "one", False)
    _limits.one = True
    try:
        yield
    finally:
        _limits.one = before


def cpu_threads() -> int:
    """Return the number of threads for a CPU kernel called now. The atomic order takes at least
    two, because one cannot race.
    """
    return 1 if getattr(_limits, "one", False) else torch.get_num_threads()
