"""Torch's stacks of modes, from which a scope is taken wherever it lies.

Torch's own ``__exit__`` takes the topmost mode, whichever that is. Two tasks of one thread leave
their scopes in any order.
"""

from typing import Any

from torch.overrides import TorchFunctionMode, _get_current_function_mode
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack

Mode = TorchDispatchMode | TorchFunctionMode


def push(mode: Mode) -> None:
    _base(mode).__enter__(mode)


def remove(mode: Mode) -> bool:
    """Remove the mode from its stack in this thread. Return False if it is not there."""
    base = _base(mode)
    above: list[Any] = []
    while (top := _top(base)) is not None:
        base.__exit__(top, None, None, None)  # not the mode's own, which may do more
        if top is mode:
            break
        above.append(top)
    for each in reversed(above):
        base.__enter__(each)
    return top is mode


def _base(mode: Mode) -> Any:
    return TorchDispatchMode if isinstance(mode, TorchDispatchMode) else TorchFunctionMode


def _top(base: Any) -> Any:
    if base is TorchFunctionMode:
        return _get_current_function_mode()
    modes = _get_current_dispatch_mode_stack()
    return modes[-1] if modes else None
