"""Settings under which torch computes the same bits from the same inputs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from nondet.defaults import plain_defaults
from nondet.training import WORKSPACE_VARIABLE
from nondet.training.precision import tensor_float_32

_uninitialized: Any = torch.utils.deterministic


@contextmanager
def deterministic(threads: int = 1) -> Iterator[None]:
    """Use `threads` threads, torch's deterministic algorithms, no TF32 and torch's own defaults for
    tensors within the context, then restore the settings. Operations without a deterministic
    algorithm raise RuntimeError within it; so do products on a GPU if torch computed one before
    `nondet.training` was imported and the environment did not fix the workspace of cuBLAS.
    """
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
    except RuntimeError as error:
        if WORKSPACE_VARIABLE not in str(error):
            raise
        raise RuntimeError(_too_late(os.environ.get(WORKSPACE_VARIABLE, ""))) from error
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1], warn_only=before[2])
        _uninitialized.fill_uninitialized_memory = before[3]
        torch.backends.cudnn.benchmark = before[4]


def _too_late(value: str) -> str:
    """Return the message for a product that torch refuses for the workspace of cuBLAS."""
    name, allowed = WORKSPACE_VARIABLE, (":4096:8", ":16:8")
    if value not in allowed:
        return (
            f"{name} is {value!r}, with which products on a GPU are not deterministic; set it to "
            f"{' or '.join(allowed)} in the environment before the process starts"
        )
    return (
        f"torch computed a product on a GPU before nondet set {name}={value}, which came too late: "
        "torch reads it once. In a new process, import nondet.training before the first product on "
        f"a GPU, or set {name}={value} in the environment"
    )
