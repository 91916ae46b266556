"""Calls of CPU kernels as their bindings take them, over memory that is mapped but not filled:
inputs can be larger than memory, for untouched zeros cost nothing.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from factories.threads import threads_of_torch
from nondet_ext._native import _C

FORMATS = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}

Call = Callable[[int], Any]
"""Calls a kernel with a number of threads."""


class Memory:
    """Arrays that stay alive as long as the call that uses their addresses."""

    def __init__(self) -> None:
        self._arrays: list[np.ndarray] = []

    def zeros(self, *shape: int, item: int = 8) -> int:
        """Return the address of zeros, of `item` bytes each."""
        return self.of(np.zeros(shape, f"V{item}"))

    def of(self, array: np.ndarray) -> int:
        self._arrays.append(array)
        return array.ctypes.data


def _call(name: str, memory: Memory, arguments: dict[str, Any], threads: int | None) -> Any:
    if threads is not None:
        arguments = arguments | {"threads": threads}
    return getattr(_C.cpu, name)(**arguments)


def kernel(name: str, memory: Memory, **arguments: Any) -> Call:
    return partial(_call, name, memory, arguments)


def alone(name: str, memory: Memory, **arguments: Any) -> Call:
    """Return a call of a kernel that knows one thread only."""
    return lambda threads: _call(name, memory, arguments, None)


def direct(function: str, order: str, rows: int, columns: int, dim: int | None) -> Call:
    x = torch.from_numpy(np.zeros((rows, columns), np.float32))

    def call(threads: int) -> Any:
        with threads_of_torch(threads):
            return getattr(_C.direct, function)(x, dim, False, order, None, None)

    return call


def dtype_of(name: str) -> Any:
    return getattr(_C.DType, name)


def order_of(name: str) -> Any:
    return getattr(_C.Order, name)


Size = Callable[[float], int]
"""Returns a number of elements for a number that takes seconds."""
