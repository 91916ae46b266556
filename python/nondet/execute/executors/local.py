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
from nondet.execute.executors.worker import ONE_THREAD, JobFailedError, failed, keep_memory, outcome


class LocalPool(Workers):
    """Up to `workers` processes, started anew (spawn) when there is work for them, and again where
    one died.

    Leaving the context ends them at once, also in the middle of their work; they end by themselves
    when this process dies. They ignore Ctrl-C, which the parent turns into leaving the context.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers}; it must be at least 1")
        self.workers = workers
        self._processes: dict[Connection, BaseProcess] = {}
        self._idle: list[Connection] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for pipe in list(self._processes):
            self._abandon(pipe)
        self._idle.clear()

    def _room(self) -> int:
        return self.workers

    def _begin(self, function: Callable[[Any], Any], item: Any) -> Connection:
        while self._idle:
            pipe = self._idle.pop()
            try:
                pipe.send((function, item))
            except (BrokenPipeError, ConnectionResetError):  # it died since its last item
                self._abandon(pipe)
            else:
                return pipe
        pipe = self._start()
        pipe.send((function, item))
        return pipe

    def _finished(self, handles: list[Connection]) -> Iterator[tuple[Connection, Any]]:
        for pipe in connection.wait(handles):
            assert isinstance(pipe, Connection)
            try:
                value = pipe.recv()
                self._idle.append(pipe)
            except (EOFError, ConnectionResetError):
                process = self._processes[pipe]
                process.join()
                value = JobFailedError(
                    f"the process died in the middle of a run ({_describe_exit(process.exitcode)})"
                )
                self._abandon(pipe)
            yield pipe, value

    def _abandon(self, handle: Connection) -> None:
        process = self._processes.pop(handle, None)
        if process is not None:
            process.kill()
            process.join()
            handle.close()

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(there,), name="nondet-worker", daemon=True)
        process.start()
        there.close()
        self._processes[here] = process
        return here


def _describe_exit(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"{name}, as where memory runs out" if -code == signal.SIGKILL else name


def _serve(pipe: Connection) -> None:
    """The life of a worker: functions and items in, values out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_memory()
    threading.Thread(target=_die_with_parent, daemon=True).start()
    os.environ.update(ONE_THREAD)
    while True:
        try:
            function, item = pipe.recv()
        except EOFError:
            return
        except Exception as error:  # what was sent cannot be read here
            pipe.send(failed(error))
            continue
        try:
            pipe.send(outcome(function, item))
        except (OSError, EOFError):
            return
        except Exception as error:  # the value cannot be sent
            pipe.send(failed(error))


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
