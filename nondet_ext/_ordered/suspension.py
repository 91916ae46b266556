"""Where a scope was opened, and whether that code is suspended now.

A ``with`` block in a generator, an asynchronous generator or a coroutine stays open while its frame
is suspended and other code of the thread runs. Torch keeps one stack of modes for each thread and
does not see this, so a scope asks here before it acts.
"""

import contextlib
import dis
import inspect
import sys
import threading
from contextvars import ContextVar
from enum import Enum, auto
from types import FrameType

_SUSPENDABLE = (
    inspect.CO_GENERATOR
    | inspect.CO_COROUTINE
    | inspect.CO_ITERABLE_COROUTINE
    | inspect.CO_ASYNC_GENERATOR
)
_LEFT = frozenset(
    dis.opmap[name] for name in ("RETURN_VALUE", "RETURN_CONST", "RERAISE") if name in dis.opmap
)
_YIELD = dis.opmap["YIELD_VALUE"]
_ENTERS = ("__enter__", "__aenter__", "enter_context", "enter_async_context")


class State(Enum):
    """What a scope does with an operator."""

    ACTIVE = auto()  # the operator runs inside
    OUTSIDE = auto()  # another task runs while the one that opened the scope is suspended
    UNKNOWN = auto()  # the consumer of a generator runs, or whoever uses it as a context manager


class Opening:
    """The place where a scope was opened."""

    def __init__(self) -> None:
        self._frames = _suspendable_frames()
        self._thread = threading.get_ident()
        self._task = _current_task()
        if self._frames:
            _INHERITED.set((*_INHERITED.get(), self))

    def close(self) -> None:
        if self._frames:
            _INHERITED.set(tuple(each for each in _INHERITED.get() if each is not self))
            self._frames = []

    def is_in_this_thread(self) -> bool:
        return threading.get_ident() == self._thread

    def state(self) -> State:
        """Return whether the code that runs now is inside the scope."""
        if not self._frames:
            return State.ACTIVE
        frame = next((each for each in self._frames if not _has_finished(each)), None)
        if frame is None or frame.f_back is not None:
            return State.ACTIVE
        if not frame.f_code.co_flags & inspect.CO_COROUTINE:
            return State.UNKNOWN
        if self not in _INHERITED.get():
            # A thread of the autograd engine works for the scope's task or for another one.
            return State.OUTSIDE if self.is_in_this_thread() else State.UNKNOWN
        # A task that was started inside has a copy of the context, and is inside. Without asyncio,
        # it could also be somebody who resumes the coroutine by hand.
        task = _current_task()
        return State.UNKNOWN if task is None or task is self._task else State.ACTIVE


# The openings of scopes that the current context, or the one it was copied from, is in.
_INHERITED: ContextVar[tuple[Opening, ...]] = ContextVar("nondet_ext.ordered", default=())


def _suspendable_frames() -> list[FrameType]:
    """Return the frames of generators and coroutines that run now, the innermost first, without
    those that contextlib resumes: their ``with`` blocks are meant for the code that they yield to.
    """
    frames = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        above = frame.f_back
        if (
            frame.f_code.co_flags & _SUSPENDABLE
            and not _is_of_contextlib(frame)
            and not (above is not None and _is_of_contextlib(above))
        ):
            frames.append(frame)
        frame = above
    return frames


def _is_of_contextlib(frame: FrameType) -> bool:
    """Return True for the functions of contextlib that enter a context manager."""
    return frame.f_globals is contextlib.__dict__ and frame.f_code.co_name in _ENTERS


def _has_finished(frame: FrameType) -> bool:
    """Return True if the frame was left for good. A suspended frame has nobody above it, either,
    and from Python 3.12 on a finished one may still name who resumed it last.
    """
    # The deoptimized code; f_lasti is the instruction that runs or ran last.
    operation = frame.f_code.co_code[frame.f_lasti] if frame.f_lasti >= 0 else None
    if frame.f_back is None:
        return operation != _YIELD
    return operation in _LEFT


def _current_task() -> object:
    """Return the task of asyncio that runs in this thread, or None."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs
        return None
