"""Functions for the processes in which executors run items."""

import ctypes
import traceback
from collections.abc import Callable
from typing import Any

ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
"""Environment variables that make numerical libraries use one thread."""

# Parameters of mallopt in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4

DIED = "died"


class JobFailedError(RuntimeError):
    """A function raised, or its process died.

    kind: the name of the exception's class, or "died". The traceback is attached as a note.
    """

    def __init__(self, message: str, kind: str = DIED) -> None:
        super().__init__(message)
        self.kind = kind


def try_call(function: Callable[[Any], Any], item: Any) -> Any:
    """Return function(item), or a JobFailedError if it raises."""
    try:
        return function(item)
    except Exception as error:
        return to_job_failed(error)


def to_job_failed(error: Exception) -> JobFailedError:
    """Convert an exception to a JobFailedError, which every process can unpickle."""
    kind = type(error).__name__
    failure = JobFailedError(f"{kind}: {error}", kind)
    failure.add_note("".join(traceback.format_exception(error)))
    return failure


def keep_memory() -> None:
    """Make malloc keep freed memory in this process instead of returning it to the system.

    A training step frees and allocates the same large blocks again and again; fresh pages for them
    cost a fifth of a ResNet's step on a CPU. For processes that only train. No effect unless the C
    library is glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
