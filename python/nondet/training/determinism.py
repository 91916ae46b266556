"""Settings under which torch computes the same bits from the same inputs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from nondet.defaults import plain_defaults
from nondet.training.precision import tensor_float_32

_uninitialized: Any = torch.utils.deterministic


@contextmanager
def deterministic(threads: int = 1) -> Iterator[None]:
    """Use `threads` threads, torch's deterministic algorithms, no TF32 and torch's own defaults for
    tensors within the context, then restore the settings. Operations without a deterministic
    algorithm raise RuntimeError within it.
    """
    # cuBLAS is deterministic only with a fixed workspace, which it reads once, at its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        _uninitialized.fill_uninitialized_memory,
        torch.backends.cudnn.benchmark,
    )
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Memory that is about to be overwritten need not be filled: that costs time and changes no bit.
    _uninitialized.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    try:
        with plain_defaults(), tensor_float_32(False):
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1], warn_only=before[2])
        _uninitialized.fill_uninitialized_memory = before[3]
        torch.backends.cudnn.benchmark = before[4]
