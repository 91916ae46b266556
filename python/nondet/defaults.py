"""torch's defaults for tensors whose device and dtype are not named."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def plain_defaults() -> Iterator[None]:
    """Make tensors on the CPU, in float32, within the context (or the decorated function), whatever
    the caller has made torch's defaults.
    """
    dtype = torch.get_default_dtype()
    with ExitStack() as stack:
        # A default device costs time at every call of torch, so none is set without need.
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if dtype != torch.float32:
            torch.set_default_dtype(torch.float32)
            stack.callback(torch.set_default_dtype, dtype)
        yield
