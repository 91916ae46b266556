"""Record functions in this process, and look at what was recorded."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import nondet
from nondet.tracing.format import Stream, Trace, read_trace
from nondet.tracing.records import Record


def record(path: Path, function: Callable[[], Any], **options: Any) -> Trace:
    """Call a function in a trace; return the trace, in which the recorder missed nothing."""
    with nondet.trace(path, **options):
        function()
    trace = read_trace(path)
    for stream in trace.streams:
        assert stream.complete, stream.problem
        assert [each for each in stream.unseen if each.kind == "recorder"] == []
    return trace


def main_stream(trace: Trace) -> Stream:
    """Return the stream of the thread that began the trace."""
    return next(each for each in trace.streams if each.info.role == "main")


def records_of(trace: Trace, role: str = "main") -> list[Record]:
    """Return all records of a stream."""
    stream = next(each for each in trace.streams if each.info.role == role)
    return [each for i in range(len(stream.steps)) for each in stream.records(i)]


def operations(trace: Trace, role: str = "main") -> list[Record]:
    """Return the operations of a stream; without `detach`, which torch adds where it makes tensors
    and keeps them for a backward pass.
    """
    return [
        each
        for each in records_of(trace, role)
        if each.kind == "operation" and each.name != "aten.detach.default"
    ]


def named(trace: Trace, name: str) -> list[Record]:
    """Return the records of the main stream whose name is or starts so: "aten.mm"."""
    return [
        each for each in records_of(trace) if each.name == name or each.name.startswith(f"{name}.")
    ]


def assert_equal(a: Trace, b: Trace) -> None:
    """Check that two traces hold the same streams, to the last digest."""
    pairs = [sorted(each.streams, key=lambda one: one.info.role) for each in (a, b)]
    assert [each.info.role for each in pairs[0]] == [each.info.role for each in pairs[1]]
    for one, other in zip(*pairs, strict=True):
        assert one.lines == other.lines
        assert one.entries == other.entries
        assert len(one.steps) == len(other.steps)
        for left, right in zip(one.steps, other.steps, strict=True):
            assert left.number == right.number
            assert np.array_equal(left.entries, right.entries)
            assert np.array_equal(left.values, right.values)


def line_number() -> int:
    """Return the number of the line that calls this."""
    return sys._getframe(1).f_lineno
