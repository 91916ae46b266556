"""Traces on disk: a folder with `trace.json` and a file of blocks for each stream.

docs/trace-format.md describes the format.
"""

from nondet.tracing.format.command import stream_path, write_command
from nondet.tracing.format.entries import Entry, ReadShape, WriteShape
from nondet.tracing.format.errors import TraceError
from nondet.tracing.format.reader import Trace, read_trace
from nondet.tracing.format.stream import StepData, Stream
from nondet.tracing.format.writer import StreamWriter

__all__ = [
    "Entry",
    "ReadShape",
    "StepData",
    "Stream",
    "StreamWriter",
    "Trace",
    "TraceError",
    "WriteShape",
    "read_trace",
    "stream_path",
    "write_command",
]
