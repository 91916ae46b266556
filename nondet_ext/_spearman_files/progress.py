"""Progress of long computations in several threads."""

import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed

Callback = Callable[[int, int, str], object]


class Stopped(Exception):  # noqa: N818 - not an error
    """Raised in a thread to end it after another thread failed."""


class Progress:
    """A count of bytes up to `total`, reported as `callback`(done, total, text), by one thread at a
    time. None reports nothing, True writes a line to stderr.
    """

    def __init__(self, callback: Callback | bool | None, total: int) -> None:
        self._callback = _Line() if callback is True else callback or None
        self._total = total
        self._done = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def advance(self, text: str, count: int) -> None:
        if self._stop.is_set():
            raise Stopped
        with self._lock:
            self._done += count
            if self._callback is not None:
                self._callback(self._done, self._total, text)

    def skip(self, count: int) -> None:
        """Count bytes that an earlier call has processed."""
        with self._lock:
            self._done += count

    def stop(self) -> None:
        """Make every later `advance` raise :class:`Stopped`."""
        self._stop.set()


def run_all(
    work: Callable[[int], None], tasks: Iterable[int], workers: int, progress: Progress
) -> None:
    """Call work(task) for every task, in threads. The first exception stops the others and is
    raised.
    """
    with ThreadPoolExecutor(workers) as pool:
        running = [pool.submit(work, task) for task in tasks]
        try:
            for each in as_completed(running):
                each.result()
        except BaseException:
            progress.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Line:
    """A line, rewritten in place on a terminal; elsewhere a new line every ten seconds."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._begin = self._last = time.monotonic()

    def __call__(self, done: int, total: int, text: str) -> None:
        now = time.monotonic()
        finished = done == total
        if now - self._last < (0.2 if self._terminal else 10) and not finished:
            return
        self._last = now
        line = f"{done / max(total, 1):6.1%} {text}, {now - self._begin:.0f} s"
        if self._terminal:
            print(f"\r{line:<70}", end="\n" if finished else "", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)
