"""The number of threads of CPU kernels."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from nondet_ext._native import _C

_limits = threading.local()


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread in the CPU kernels called from this thread, inside the ``with`` block: small
    sums would take longer to wake another thread than to compute.
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


def _share_torchs_threads() -> str | None:
    """Let the CPU kernels run in the threads of torch's OpenMP runtime, if it can be told which.

    Returns its library. Without one, kernels start threads of their own at each call.
    """
    root = Path(torch.__file__).parent
    folders = (root / "lib", root.parent / "torch.libs")
    bundled = [str(file) for folder in folders for file in sorted(folder.glob("lib*omp*.so*"))]
    libraries = [*bundled, "libgomp.so.1", "libiomp5.so", "libomp.so"]
    return next((each for each in libraries if _C.cpu.use_team(each)), None)


TEAM = _share_torchs_threads()
"""The library whose threads the CPU kernels use; None if they start their own."""
