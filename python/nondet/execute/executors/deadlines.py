"""Deadlines for calls that may never return."""

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from nondet.execute.executors.executor import ExecutorError

Value = TypeVar("Value")

_Call = tuple[Callable[[], Any], "queue.SimpleQueue[tuple[bool, Any]]"]


class Caller:
    """A thread that makes calls, one after another, which may take no longer than they are given.

    It lives until it is ended: processes that a call starts may be tied to the life of the thread
    that starts them, as those of Ray are.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[_Call | None] | None = None

    def within(self, seconds: float, doing: str, call: Callable[[], Value]) -> Value:
        """Return call(), or raise ExecutorError if that takes longer.

        doing: what the call does, in words, for the error: "asking Ray for its nodes". The call
        cannot be stopped: it goes on in a thread that does not keep the process alive, and later
        calls are made by another one. Its own errors are raised as they are.
        """
        if self._calls is None:
            self._calls = queue.SimpleQueue()
            arguments = (self._calls,)
            threading.Thread(target=_serve, args=arguments, name="nondet", daemon=True).start()
        results: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
        self._calls.put((call, results))
        try:
            succeeded, value = results.get(timeout=seconds)
        except queue.Empty:
            self._calls = None
            raise ExecutorError(f"{doing} has taken more than {seconds:g} s") from None
        if not succeeded:
            raise value
        found: Value = value
        return found

    def end(self) -> None:
        """End the thread. Another call starts another one."""
        if self._calls is not None:
            self._calls.put(None)
            self._calls = None


def _serve(calls: "queue.SimpleQueue[_Call | None]") -> None:
    while (received := calls.get()) is not None:
        call, results = received
        try:
            results.put((True, call()))
        except BaseException as error:
            results.put((False, error))


def causes_of(error: BaseException) -> str:
    """Return the messages of an error and of its causes in a line, the outermost first, each once.

    Of a message of several lines, the first one is kept, or the last one if it holds a traceback.
    """
    texts: list[str] = []
    current: BaseException | None = error
    for _ in range(10):  # some causes go round in a circle
        if current is None:
            break
        lines = str(current).strip().splitlines() or [type(current).__name__]
        text = lines[-1 if any("Traceback (" in line for line in lines) else 0].strip()
        if not any(text in known for known in texts):
            texts.append(text)
        current = current.__cause__ or (
            None if current.__suppress_context__ else current.__context__
        )
    return "; caused by: ".join(texts)
