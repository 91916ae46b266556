"""Where runs run: in this process, or in a pool of processes on this machine.

Every process computes with one thread, so that neither the number of threads nor the number of
workers can reach a result. An executor applies a module-level function to items and yields (item,
value) as they finish.
"""

import ctypes
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, Self

# Numbers of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


class JobFailedError(RuntimeError):
    """A function raised, or its process died; the message says which."""


class Executor(Protocol):
    """Applies functions to items, in no particular order."""

    def map(
        self, function: Callable[[Any], Any], items: Iterable[Any]
    ) -> Iterator[tuple[Any, Any]]:
        """Yields (item, function(item)) as results come. Raises JobFailedError."""
        ...


class InProcess:
    """One item after another, here; a context manager, as the pool is."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def map(
        self, function: Callable[[Any], Any], items: Iterable[Any]
    ) -> Iterator[tuple[Any, Any]]:
        for item in items:
            try:
                value = function(item)
            except Exception as error:
                raise JobFailedError(f"{type(error).__name__}: {error}") from error
            yield item, value


class LocalPool:
    """`workers` processes, started anew (spawn); a context manager.

    Leaving the context ends the workers at once, also in the middle of their work; they end by
    themselves when this process dies. They ignore Ctrl-C, which the parent turns into leaving the
    context.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers}; it must be at least 1")
        self._count = workers
        self._workers: dict[Connection, BaseProcess] = {}

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        for number in range(self._count):
            here, there = context.Pipe()
            process = context.Process(
                target=_serve, args=(there,), name=f"nondet-worker-{number}", daemon=True
            )
            process.start()
            there.close()
            self._workers[here] = process
        return self

    def __exit__(self, *exception: object) -> None:
        for pipe, process in self._workers.items():
            process.kill()
            process.join()
            pipe.close()
        self._workers.clear()

    def map(
        self, function: Callable[[Any], Any], items: Iterable[Any]
    ) -> Iterator[tuple[Any, Any]]:
        waiting = iter(items)
        idle = list(self._workers)
        busy: dict[Connection, Any] = {}
        while True:
            while idle:
                try:
                    item = next(waiting)
                except StopIteration:
                    break
                pipe = idle.pop()
                pipe.send((function, item))
                busy[pipe] = item
            if not busy:
                return
            for ready in connection.wait(list(busy)):
                assert isinstance(ready, Connection)
                item = busy.pop(ready)
                value = self._receive(ready)
                idle.append(ready)
                yield item, value

    def _receive(self, pipe: Connection) -> Any:
        try:
            succeeded, value = pipe.recv()
        except (EOFError, ConnectionResetError):
            process = self._workers[pipe]
            process.join()
            raise JobFailedError(
                f"{process.name} died in the middle of a run (exit code {process.exitcode})"
            ) from None
        if not succeeded:
            summary, details = value
            error = JobFailedError(summary)
            error.add_note(details)
            raise error
        return value


def keep_memory() -> None:
    """Lets this process keep the memory that it frees. A training step frees and takes the same
    large blocks again and again; fresh pages for them cost a fifth of a ResNet's step on a CPU.

    For processes that do nothing but train. Without effect where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def _serve(pipe: Connection) -> None:
    """The life of a worker: functions and items in, values out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_memory()
    threading.Thread(target=_die_with_parent, daemon=True).start()
    for library in ("OMP", "MKL", "OPENBLAS"):
        os.environ[f"{library}_NUM_THREADS"] = "1"
    while True:
        try:
            function, item = pipe.recv()
        except EOFError:
            return
        try:
            answer = (True, function(item))
        except Exception as error:
            answer = (False, (f"{type(error).__name__}: {error}", traceback.format_exc()))
        pipe.send(answer)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
