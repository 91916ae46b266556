"""Whether a call may go straight to the kernels: registered ops cost several microseconds, and the
first call of one in a process imports torch's compiler, which takes seconds.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import forward_ad

PLAIN = (torch.Tensor, torch.nn.Parameter)
_dispatch_modes = torch._C._len_torch_dispatch_stack
_functorch_level = torch._C._functorch.peek_interpreter_stack
_is_tracing = torch._C._is_tracing


def is_plain() -> bool:
    """True where nothing watches: no compiler, dispatch mode, function transform or tracer."""
    return not (
        torch.compiler.is_compiling()
        or _dispatch_modes()
        or _functorch_level() is not None
        or forward_ad._current_level >= 0
        or _is_tracing()
    )


def is_eager(*tensors: torch.Tensor) -> bool:
    """True where, besides, no tensor is of a subclass, without memory, a lazy negation (the
    imaginary part of a conjugate is one), or records gradients.
    """
    if not is_plain():
        return False
    records = torch.is_grad_enabled()
    return all(
        type(tensor) in PLAIN
        and not (tensor.is_meta or tensor.is_neg())
        and not (records and tensor.requires_grad)
        for tensor in tensors
    )


def call(op: Callable[..., Any], run: Callable[..., Any], *arguments: Any) -> Any:
    """What the registered `op` returns, from `run`, the function it was registered with, where
    nothing could tell.
    """
    tensors = [each for each in arguments if isinstance(each, torch.Tensor)]
    return run(*arguments) if is_eager(*tensors) else op(*arguments)
