"""The floating-point mode of what Python, NumPy and torch compute around the kernels. The kernels
set it themselves.
"""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from nondet_ext._native import _C

P = ParamSpec("P")
R = TypeVar("R")


def in_default_mode(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that it rounds to nearest and keeps subnormals, whatever its caller's
    mode is: in this thread, and not where torch compiles it.
    """

    @functools.wraps(function)
    def run(*arguments: P.args, **named: P.kwargs) -> R:
        if torch.compiler.is_compiling():
            return function(*arguments, **named)
        with _C.DefaultFloatMode():
            return function(*arguments, **named)

    return run
