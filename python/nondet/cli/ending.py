"""The end of a command whose output cannot be written, or that is interrupted: no traceback."""

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TextIO, cast

from nondet.characters import printable

BROKEN_PIPE = 128 + signal.SIGPIPE
"""The exit status if nobody reads the output any more, as shells report it of other programs."""

INTERRUPTED = 128 + signal.SIGINT

_RAY = "nondet.execute.executors.ray_connection"
"""Loaded with Ray alone. After a cluster is gone, Ray's threads may end the process with a
segmentation fault, in place of its status, when the interpreter ends."""


def run_to_end(command: Callable[[], object]) -> NoReturn:
    """Run a command and exit with its status.

    The status is `BROKEN_PIPE` if the reader of the output has left, and 2, after an error, if
    output cannot be written for another reason, or the command raises another OSError, such as one
    of a full disk. The first Ctrl-C raises KeyboardInterrupt; a second
    one ends the process at once with `INTERRUPTED`. Stored data stay intact, and workers end by
    themselves.
    """
    streams = [_Watched(each) for each in (sys.stdout, sys.stderr) if each is not None]
    for stream in streams:
        if stream.original is sys.stdout:
            sys.stdout = cast(TextIO, stream)
        else:
            sys.stderr = cast(TextIO, stream)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    status: Any = 0
    problem: OSError | None = None
    try:
        command()
    except SystemExit as error:
        status = error.code
    except KeyboardInterrupt:
        status = INTERRUPTED
    except OSError as error:
        problem = error
    lost = next((each.error for each in streams if each.is_lost()), None)
    if lost is None and problem is None:
        _leave(status)
    if lost is None:
        print(f"error: {printable(str(problem), lines=True)}", file=sys.stderr)
        _leave(2)
    if lost.errno == errno.EPIPE:
        sys.exit(BROKEN_PIPE)
    print(f"error: cannot write the output: {lost.strerror or lost}", file=sys.stderr)
    streams[-1].is_lost()
    sys.exit(2)


def _leave(status: Any) -> NoReturn:
    """Exit with a status; the output is written."""
    module = sys.modules.get(_RAY)
    if module is not None and module.LOST:
        os._exit(status if isinstance(status, int) else 1)
    sys.exit(status)


class _Watched:
    """A stream that remembers the first error of writing to it."""

    def __init__(self, original: TextIO) -> None:
        self.original = original
        self.error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)

    def write(self, text: str) -> int:
        """Write a text; once that has failed, drop it."""
        if self.error is not None:
            return len(text)
        try:
            return self.original.write(text)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Write what is held back."""
        if self.error is None:
            try:
                self.original.flush()
            except OSError as error:
                self.error = error
                raise

    def is_lost(self) -> bool:
        """Flush the stream and return True if it could not be written, now or before."""
        with contextlib.suppress(OSError):
            self.flush()
        if self.error is not None:
            # Else the interpreter would try once more when it ends, and fail with a traceback.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.original.fileno())
            os.close(nowhere)
        return self.error is not None


def _interrupt(number: int, frame: object) -> None:
    """Raise KeyboardInterrupt; the next signal ends the process."""
    signal.signal(signal.SIGINT, _end_now)
    raise KeyboardInterrupt


def _end_now(number: int, frame: object) -> None:
    if os.isatty(2):
        os.write(2, b"\x1b[?25h\n")  # a display of progress may have hidden the cursor
    os._exit(INTERRUPTED)
