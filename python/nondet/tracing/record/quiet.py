"""Let the recorder compute with tensors so that nobody sees it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_depth = torch._C._len_torch_dispatch_stack
_pop, _push = torch._C._pop_torch_dispatch_stack, torch._C._push_on_torch_dispatch_stack


@contextmanager
def quiet() -> Iterator[None]:
    """Take all modes of this thread off inside the block."""
    modes = []
    while _depth():
        modes.append(_pop_any())
    try:
        with torch._C.DisableTorchFunction():
            yield
    finally:
        for mode in reversed(modes):
            _push(mode)


def push_below(mode: Any) -> None:
    """Put a mode below all others of this thread: it sees what they pass on."""
    above = _take_all()
    _push(mode)
    for each in above:
        _push(each)


def remove(mode: Any) -> None:
    """Take a mode off, wherever it stands; nothing happens if it is not there."""
    for each in _take_all():
        if each is not mode:
            _push(each)


def _take_all() -> list[Any]:
    """Pop all modes; return them from the bottom up."""
    modes = []
    while _depth():
        modes.append(_pop_any())
    return modes[::-1]


def _pop_any() -> Any:
    top = torch._C._get_dispatch_stack_at(_depth() - 1)
    return _pop(getattr(top, "_mode_key", None))
