"""The number of threads of torch, for tests."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nondet_ext import threads
from nondet_ext._native import _C


@contextmanager
def threads_of_torch(count: int) -> Iterator[None]:
    """Let torch use `count` threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def own_threads() -> Iterator[None]:
    """Let kernels start threads of their own inside the block, as in a forked child."""
    _C.cpu.use_team("")
    try:
        yield
    finally:
        if threads.TEAM is not None:
            assert _C.cpu.use_team(threads.TEAM)
