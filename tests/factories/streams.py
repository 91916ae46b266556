"""Streams of traces in memory, without the files that `factories.traces` writes."""

from itertools import groupby
from pathlib import Path

import numpy as np

from factories.traces import StreamMaker, entry_of, values_of
from nondet.tracing.format import Entry, StepData, Stream
from nondet.tracing.format.kept import KeptValues
from nondet.tracing.records import Line


def make_stream(maker: StreamMaker) -> Stream:
    """Return the stream that reading the file of `maker` gives."""
    writer = _Writer()
    stream = Stream(
        "0.stream",
        maker.info,
        KeptValues(Path("0.stream")),
        unseen=maker.unseen,
        complete=maker.complete,
        problem=None if maker.complete else "ends without its end mark",
    )
    for number, group in groupby(maker.records, lambda record: record.step):
        records = list(group)
        entries = np.array([writer.entry(entry_of(each, writer)) for each in records], np.uint32)
        values = np.array([value for each in records for value in values_of(each)], np.uint64)
        stream.steps.append(StepData(number, entries, values, True))
    stream.lines, stream.entries = list(writer.lines), writer.entries
    return stream


class _Writer:
    """Numbers lines and entries, as `StreamWriter` does."""

    def __init__(self) -> None:
        self.lines: dict[Line, int] = {}
        self.entries: list[Entry] = []
        self._numbers: dict[str, int] = {}

    def line(self, file: str, number: int, function: str, text: str) -> int:
        line = Line(file, number, function, text)
        return self.lines.setdefault(line, len(self.lines))

    def entry(self, entry: Entry) -> int:
        number = self._numbers.setdefault(repr(entry), len(self.entries))
        if number == len(self.entries):
            self.entries.append(entry)
        return number
