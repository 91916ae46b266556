"""Transforms and forward-mode derivatives in code that torch.compile traces.

torch.compile enters the transforms that it meets while it traces, so they can be seen then, and it
compiles again for others. It cannot trace how they are seen, nor what is done about them: it takes
the answers as constants and the deeds as one step of its graph.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import forward_ad

_RECORDING = (torch._C._functorch.TransformType.Grad, torch._C._functorch.TransformType.Jvp)


def as_step(function: Callable[..., Any]) -> None:
    """Let torch.compile take a function of tensors and constants as one step of its graph."""
    import torch._dynamo  # takes seconds, and whoever traces has it

    torch._dynamo.allow_in_graph(function)


def is_transformed() -> bool:
    """Return True inside of a transform of torch.func."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def has_derivatives(op: Any = None) -> bool:
    """Return True where tensors may carry derivatives that a registered op would lose; `op.step`
    then is a step of the graph. (The function itself cannot be the argument: torch.compile would
    have looked at it before.)
    """
    stack = torch._C._functorch.get_interpreter_stack() or []
    found = forward_ad._current_level >= 0 or any(each.key() in _RECORDING for each in stack)
    if found and op is not None:
        as_step(op.step)
    return found


def has_tangents() -> bool:
    """Return True where tensors may carry forward-mode tangents; :func:`refuse_tangent` then is a
    step of the graph.
    """
    found = forward_ad._current_level >= 0
    if found:
        as_step(refuse_tangent)
    return found


def unpacked(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return a tensor without its forward-mode tangent, and the tangent.

    forward_ad.unpack_dual does so, too, but not in the graphs of torch.compile, which enter a level
    behind its back. There is one level only, 0.
    """
    primal, tangent = torch._VF._unpack_dual(tensor, level=0)
    return primal, tangent


def refuse_tangent(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Raise NotImplementedError if a tensor carries a forward-mode tangent; else return it."""
    if unpacked(tensor)[1] is not None:
        raise NotImplementedError(
            f"{name} carries a forward-mode tangent, and this function has no derivative; pass "
            f"{name}.detach()"
        )
    return tensor


for _question in (is_transformed, has_derivatives, has_tangents):
    # As torch.compiler.assume_constant_result does, which would import the compiler.
    _question._dynamo_marked_constant = True  # type: ignore[attr-defined]
