"""A pool of processes on this machine."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Self

from nondet.execute.executors.executor import Workers
from nondet.execute.executors.worker import (
    ONE_THREAD,
    JobFailedError,
    keep_memory,
    to_job_failed,
    try_call,
)


class LocalPool(Workers):
    """Processes items in up to `workers` processes, which are spawned on demand and replaced if
    they die.

    Leaving the context kills them at once, even busy ones; they exit by themselves if this process
    dies. They ignore Ctrl-C: it makes the parent leave the context.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers}; it must be at least 1")
        self.workers = workers
        self._processes: dict[Connection, BaseProcess] = {}
        self._idle: list[Connection] = []
        self._single: set[Connection] = set()  # whose processes end after their item

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for pipe in list(self._processes):
            self._cancel(pipe)
        self._idle.clear()

    def _capacity(self) -> int:
        return self.workers

    def _start(self, function: Callable[[Any], Any], item: Any) -> Connection:
        while self._idle:
            pipe = self._idle.pop()
            try:
                pipe.send((function, item))
            except (BrokenPipeError, ConnectionResetError):  # it died since its last item
                self._cancel(pipe)
            else:
                return pipe
        return self._send_to_new(function, item)

    def _start_fresh(self, function: Callable[[Any], Any], item: Any) -> Connection:
        if self._idle:  # it would stay beside the new one
            self._cancel(self._idle.pop())
        pipe = self._send_to_new(function, item)
        self._single.add(pipe)
        return pipe

    def _send_to_new(self, function: Callable[[Any], Any], item: Any) -> Connection:
        pipe = self._spawn()
        pipe.send((function, item))
        return pipe

    def _wait(self, handles: list[Connection]) -> Iterator[tuple[Connection, Any]]:
        for pipe in connection.wait(handles):
            assert isinstance(pipe, Connection)
            try:
                value = pipe.recv()
                if pipe in self._single:
                    self._cancel(pipe)
                else:
                    self._idle.append(pipe)
            except (EOFError, ConnectionResetError):
                process = self._processes[pipe]
                process.join()
                value = JobFailedError(
                    f"the process died during a run ({_describe_exit(process.exitcode)})"
                )
                self._cancel(pipe)
            yield pipe, value

    def _cancel(self, handle: Connection) -> None:
        self._single.discard(handle)
        process = self._processes.pop(handle, None)
        if process is not None:
            process.kill()
            process.join()
            handle.close()

    def _spawn(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), name="nondet-worker", daemon=True)
        process.start()
        theirs.close()
        self._processes[ours] = process
        return ours


def _describe_exit(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"{name}, possibly out of memory" if -code == signal.SIGKILL else name


def _serve(pipe: Connection) -> None:
    """Receive functions and items and send their values until the pipe closes. Runs in a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_memory()
    threading.Thread(target=_die_with_parent, daemon=True).start()
    os.environ.update(ONE_THREAD)
    while True:
        try:
            function, item = pipe.recv()
        except EOFError:
            return
        except Exception as error:  # the message cannot be unpickled here
            pipe.send(to_job_failed(error))
            continue
        try:
            pipe.send(try_call(function, item))
        except (OSError, EOFError):
            return
        except Exception as error:  # the value cannot be pickled
            pipe.send(to_job_failed(error))


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
