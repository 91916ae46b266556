"""What every executor does: functions applied to items, and an item that fails tried again."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

from nondet.execute.executors.worker import JobFailedError, outcome

__all__ = ["Executor", "ExecutorError", "JobFailedError", "Serial", "Workers"]

_NOTHING = object()


class ExecutorError(Exception):
    """Runs cannot run where they were asked to; the message says why."""


class Executor(ABC):
    """Applies module-level functions to items, in no particular order; a context manager.

    workers: how many items are worked on at a time.
    """

    workers: int = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    @abstractmethod
    def attempt(
        self, function: Callable[[Any], Any], items: Iterable[Any], tries: int = 2
    ) -> Iterator[tuple[Any, Any]]:
        """Yields (item, function(item)) as results come. An item whose function raises, or whose
        process dies, is tried again, `tries` times in all, and then yielded with a JobFailedError
        in place of its value; the others go on.
        """

    def map(
        self, function: Callable[[Any], Any], items: Iterable[Any]
    ) -> Iterator[tuple[Any, Any]]:
        """As `attempt`, for items that are of use together only: raises the first JobFailedError
        and leaves the rest.
        """
        for item, value in self.attempt(function, items):
            if isinstance(value, JobFailedError):
                raise value
            yield item, value


class Serial(Executor):
    """One item after another, here."""

    def attempt(
        self, function: Callable[[Any], Any], items: Iterable[Any], tries: int = 2
    ) -> Iterator[tuple[Any, Any]]:
        for item in items:
            for _ in range(tries):
                value = outcome(function, item)
                if not isinstance(value, JobFailedError):
                    break
            yield item, value


class Workers(Executor):
    """Items under way elsewhere, a bounded number at a time, each known by a handle."""

    @abstractmethod
    def _room(self) -> int:
        """How many items may be under way."""

    @abstractmethod
    def _begin(self, function: Callable[[Any], Any], item: Any) -> Any:
        """Sends an item on its way; returns its handle."""

    @abstractmethod
    def _finished(self, handles: list[Any]) -> Iterator[tuple[Any, Any]]:
        """Waits for some of the items; yields their handles and outcomes."""

    @abstractmethod
    def _abandon(self, handle: Any) -> None:
        """Stops an item whose outcome nobody will ask for."""

    def attempt(
        self, function: Callable[[Any], Any], items: Iterable[Any], tries: int = 2
    ) -> Iterator[tuple[Any, Any]]:
        waiting = iter(items)
        again: list[tuple[Any, int]] = []
        under_way: dict[Any, tuple[Any, int]] = {}
        try:
            while True:
                while len(under_way) < self._room():
                    item, number = again.pop() if again else (next(waiting, _NOTHING), 1)
                    if item is _NOTHING:
                        break
                    under_way[self._begin(function, item)] = item, number
                if not under_way:
                    return
                for handle, value in self._finished(list(under_way)):
                    item, number = under_way.pop(handle)
                    if isinstance(value, JobFailedError) and number < tries:
                        again.append((item, number + 1))
                    else:
                        yield item, value
        finally:
            for handle in under_way:
                self._abandon(handle)
