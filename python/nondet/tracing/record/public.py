"""Trace a part of a script: `nondet.trace` and `nondet.step`."""

import functools
import sys
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, TypeVar, get_args

from nondet.names import alternatives
from nondet.tracing.format import write_command
from nondet.tracing.options import Level, Options
from nondet.tracing.record import session

P = ParamSpec("P")
R = TypeVar("R")


def trace(
    path: str | PathLike[str],
    *,
    level: Level = "ops",
    steps: tuple[int, int] | None = None,
    every: int = 1,
    keep_values: str = "",
    verify_inputs: bool = False,
    eager: bool = False,
) -> "Tracing":
    """Return what records a block or the calls of a function into a trace, for `nondet diff`.

    ``with nondet.trace("a.trace"): ...`` or ``@nondet.trace("a.trace")`` above a function. What is
    recorded has the bits that it has without. A trace in the block of another takes its place
    until it ends.

    Args:
        path: the folder of the trace, which must not exist. A second call of a decorated function
            records into a folder beside it, `a-2.trace`.
        level: "ops" records every operation, "modules" the outputs of modules and their gradients.
        steps: first and last step to record. Steps end with `optimizer.step`, or with
            `nondet.step` once that was called.
        every: record each step whose number is a multiple of it.
        keep_values: which tensors are kept whole, besides their digests: comma-separated patterns
            of operations, modules, "file.py:LINE", "NAME@file.py:LINE" or "STEP#INDEX".
        verify_inputs: hash every tensor that is read, in place of looking up who wrote it: shows
            writes through NumPy and by other processes.
        eager: run compiled code uncompiled; its bits may differ.

    Raises:
        ValueError: `level`, `steps` or `every` is none of the above.
        FileExistsError: the path exists, when the recording begins.
    """
    if level not in get_args(Level):
        raise ValueError(f"level is {level!r}; {alternatives(level, get_args(Level))}")
    if every < 1:
        raise ValueError(f"every must be at least 1, got {every}")
    if steps is not None and not (len(steps) == 2 and 0 <= steps[0] <= steps[1]):
        raise ValueError(f"steps must be the first and the last step, from 0, got {steps}")
    options = Options(level, steps, every, keep_values, verify_inputs, eager)
    return Tracing(Path(path), options)


def step() -> None:
    """End a step of the trace that is being recorded; nothing happens if there is none.

    From the first call on, steps of optimizers do not count.
    """
    current = session.current()
    if current is not None:
        current.step()


class Tracing:
    """A recording that begins and ends with a block, or with each call of a function."""

    def __init__(self, path: Path, options: Options) -> None:
        self._path = path
        self._options = options
        self._calls = 0
        self._sessions: list[session.Session] = []

    def __enter__(self) -> "Tracing":
        path = self._path
        if self._calls:
            path = path.with_name(f"{path.stem}-{self._calls + 1}{path.suffix}")
        if path.exists():
            raise FileExistsError(f"{path} exists; a trace is recorded into a new folder")
        self._calls += 1
        write_command(path, {"arguments": sys.argv})
        self._sessions.append(session.start(path, self._options, "main"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        frames: TracebackType | None,
    ) -> None:
        self._sessions.pop().stop()

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return the function, recorded whenever it is called."""

        @functools.wraps(function)
        def traced(*args: P.args, **kwargs: P.kwargs) -> R:
            with self:
                return function(*args, **kwargs)

        return traced
