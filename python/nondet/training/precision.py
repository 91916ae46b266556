"""The precision of matrix products and convolutions."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from nondet.studies.config import RunConfig

_CUDNN: Any = torch.backends.cudnn
_OPERATIONS: tuple[Any, ...] = (_CUDNN.conv, _CUDNN.rnn, torch.backends.cuda.matmul)


@contextmanager
def tensor_float_32(allowed: bool) -> Iterator[None]:
    """Allow, or forbid, TF32 on CUDA devices within the context, then restore the settings.

    torch allows it in convolutions by default. It rounds the inputs of products to 10 bits of
    significand, so that a change of one unit in the last place of a weight mostly vanishes. Without
    a CUDA device nothing is set.
    """
    if not torch.cuda.is_available():
        yield
        return
    before = [operation.fp32_precision for operation in _OPERATIONS]
    legacy = _legacy_switch()
    try:
        # The older switch first: it sets the newer ones, and torch refuses to read it if the two
        # say different things.
        torch.backends.cudnn.allow_tf32 = allowed
        for operation in _OPERATIONS:
            operation.fp32_precision = "tf32" if allowed else "ieee"
        yield
    finally:
        if legacy is not None:
            torch.backends.cudnn.allow_tf32 = legacy
        for operation, precision in zip(_OPERATIONS, before, strict=True):
            operation.fp32_precision = precision


def _legacy_switch() -> bool | None:
    """Return torch's older switch for TF32 in cuDNN, None if it disagrees with the newer ones."""
    try:
        return bool(torch.backends.cudnn.allow_tf32)
    except RuntimeError:
        return None


def step_precision(config: RunConfig) -> AbstractContextManager[None]:
    """Return the context of a training step, forward and backward, of a configuration."""
    return tensor_float_32(True) if config.precision == "tf32" else nullcontext()


def mixed_precision(config: RunConfig) -> AbstractContextManager[object]:
    """Return the context of a training step's forward pass of a configuration."""
    if config.precision != "bfloat16":
        return nullcontext()
    return torch.autocast(config.device.partition(":")[0], torch.bfloat16)
