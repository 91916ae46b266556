"""What holds in every process that does an executor's work."""

import ctypes
import traceback
from collections.abc import Callable
from typing import Any

ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
"""Environment variables under which libraries compute with one thread."""

# Numbers of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4

DIED = "died"


class JobFailedError(RuntimeError):
    """A function raised, or its process died; the message says which.

    kind: the name of the exception, or "died". A traceback is a note.
    """

    def __init__(self, message: str, kind: str = DIED) -> None:
        super().__init__(message)
        self.kind = kind


def outcome(function: Callable[[Any], Any], item: Any) -> Any:
    """function(item), or the JobFailedError that says why there is none."""
    try:
        return function(item)
    except Exception as error:
        return failed(error)


def failed(error: Exception) -> JobFailedError:
    """An exception as a JobFailedError, which any process can read."""
    kind = type(error).__name__
    failure = JobFailedError(f"{kind}: {error}", kind)
    failure.add_note("".join(traceback.format_exception(error)))
    return failure


def keep_memory() -> None:
    """Lets this process keep the memory that it frees. A training step frees and takes the same
    large blocks again and again; fresh pages for them cost a fifth of a ResNet's step on a CPU.

    For processes that do nothing but train. Without effect where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
