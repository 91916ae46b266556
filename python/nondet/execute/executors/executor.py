"""The interface of executors: apply a function to items, and retry items that fail."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

from nondet.execute.executors.worker import JobFailedError, try_call

__all__ = ["Executor", "ExecutorError", "JobFailedError", "Retrying", "Serial", "Workers"]

_NO_ITEM = object()

Retrying = Callable[[Any, JobFailedError], object]
"""Is told of an item that is about to be tried again, and why the last attempt failed."""


class ExecutorError(Exception):
    """An executor cannot run. The message gives the reason."""


class Executor(ABC):
    """Applies module-level functions to items, in any order; a context manager.

    workers: the number of items that are processed at a time.
    """

    workers: int = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    @abstractmethod
    def attempt(
        self,
        function: Callable[[Any], Any],
        items: Iterable[Any],
        tries: int = 2,
        retrying: Retrying | None = None,
    ) -> Iterator[tuple[Any, Any]]:
        """Yield (item, function(item)) as results arrive.

        If the function raises or the process dies, the item is retried, up to `tries` attempts in
        total, and then yielded with a JobFailedError as its value. Other items are not affected.
        retrying: called before each attempt but the first.
        """

    def map(
        self,
        function: Callable[[Any], Any],
        items: Iterable[Any],
        retrying: Retrying | None = None,
    ) -> Iterator[tuple[Any, Any]]:
        """Yield as `attempt`, but raise the first JobFailedError and drop the remaining items."""
        for item, value in self.attempt(function, items, retrying=retrying):
            if isinstance(value, JobFailedError):
                raise value
            yield item, value


class Serial(Executor):
    """Processes one item after another in this process."""

    def attempt(
        self,
        function: Callable[[Any], Any],
        items: Iterable[Any],
        tries: int = 2,
        retrying: Retrying | None = None,
    ) -> Iterator[tuple[Any, Any]]:
        for item in items:
            for number in range(1, tries + 1):
                value = try_call(function, item)
                if not isinstance(value, JobFailedError):
                    break
                if retrying is not None and number < tries:
                    retrying(item, value)
            yield item, value


class Workers(Executor):
    """Processes items elsewhere, a limited number at a time. Each active item has a handle."""

    @abstractmethod
    def _capacity(self) -> int:
        """Return the number of items that may be active."""

    @abstractmethod
    def _start(self, function: Callable[[Any], Any], item: Any) -> Any:
        """Start an item; return its handle."""

    @abstractmethod
    def _wait(self, handles: list[Any]) -> Iterator[tuple[Any, Any]]:
        """Wait for some of the items; yield their handles and values."""

    @abstractmethod
    def _cancel(self, handle: Any) -> None:
        """Stop an item whose value is no longer needed."""

    def attempt(
        self,
        function: Callable[[Any], Any],
        items: Iterable[Any],
        tries: int = 2,
        retrying: Retrying | None = None,
    ) -> Iterator[tuple[Any, Any]]:
        waiting = iter(items)
        retries: list[tuple[Any, int]] = []
        active: dict[Any, tuple[Any, int]] = {}
        try:
            while True:
                while len(active) < self._capacity():
                    item, number = retries.pop() if retries else (next(waiting, _NO_ITEM), 1)
                    if item is _NO_ITEM:
                        break
                    active[self._start(function, item)] = item, number
                if not active:
                    return
                for handle, value in self._wait(list(active)):
                    item, number = active.pop(handle)
                    if isinstance(value, JobFailedError) and number < tries:
                        if retrying is not None:
                            retrying(item, value)
                        retries.append((item, number + 1))
                    else:
                        yield item, value
        finally:
            for handle in active:
                self._cancel(handle)
