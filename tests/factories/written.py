"""The smallest stream that can be written, and what is read of it."""

from pathlib import Path

from factories.traces import NO_LINES
from nondet.tracing.format import Entry, Stream, read_trace
from nondet.tracing.records import StreamInfo, TensorType

INFO = StreamInfo("main", 1, "MainThread", 1.5)
TYPE = TensorType("float32", (2, 3), "cpu")
ENTRY = Entry("operation", "op", "forward", "", *NO_LINES, "", "", True, (), (), (), ())


def read(folder: Path) -> Stream:
    [stream] = read_trace(folder).streams
    return stream


def values(stream: Stream) -> list[list[int]]:
    return [step.values.tolist() for step in stream.steps]
