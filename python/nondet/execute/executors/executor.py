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

    workers: the number of items that are processed at a time. fresh: True if there is
    `attempt_fresh`.
    """

    workers: int = 1
    fresh: bool = False

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

    def attempt_fresh(
        self,
        function: Callable[[Any], Any],
        items: Iterable[Any],
        tries: int = 2,
        retrying: Retrying | None = None,
    ) -> Iterator[tuple[Any, Any]]:
        """Yield as `attempt`. Each attempt has a process of its own, which has processed nothing
        before and ends after it, so that none finds what libraries chose in another.

        Raises ExecutorError if the executor cannot do so.
        """
        raise ExecutorError(f"{type(self).__name__} has no process of its own for every item")

    def map(
        self,
        function: Callable[[Any], Any],
        items: Iterable[Any],
        retrying: Retrying | None = None,
        *,
        fresh: bool = False,
    ) -> Iterator[tuple[Any, Any]]:
        """Yield as `attempt`, or if `fresh` as `attempt_fresh`, but raise the first JobFailedError
        and drop the remaining items.
        """
        attempt = self.attempt_fresh if fresh else self.attempt
        for item, value in attempt(function, items, retrying=retrying):
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

    fresh = True

    @abstractmethod
    def _capacity(self) -> int:
        """Return the number of items that may be active."""

    @abstractmethod
    def _start(self, function: Callable[[Any], Any], item: Any) -> Any:
        """Start an item; return its handle."""

    @abstractmethod
    def _start_fresh(self, function: Callable[[Any], Any], item: Any) -> Any:
        """Start an item in a process of its own (`attempt_fresh`); return its handle."""

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
        return self._attempt(self._start, function, items, tries, retrying)

    def attempt_fresh(
        self,
        function: Callable[[Any], Any],
        items: Iterable[Any],
        tries: int = 2,
        retrying: Retrying | None = None,
    ) -> Iterator[tuple[Any, Any]]:
        return self._attempt(self._start_fresh, function, items, tries, retrying)

    def _attempt(
        self,
        start: Callable[[Callable[[Any], Any], Any], Any],
        function: Callable[[Any], Any],
        items: Iterable[Any],
        tries: int,
        retrying: Retrying | None,
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
                    active[start(function, item)] = item, number
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
