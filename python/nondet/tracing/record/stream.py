"""The stream of a thread: records are gathered by step and written when the step ends."""

import os
import threading
import time
from array import array
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nondet.tracing.format import Entry, StreamWriter, stream_path
from nondet.tracing.record.digests import Digests
from nondet.tracing.record.storages import Table
from nondet.tracing.records import Line, StreamInfo, Unseen
from nondet_ext.recording import Position

PART = 10_000
"""A step is written in parts of so many records."""


class Stream(Position):
    """The records of a thread.

    Attributes:
        ordinal: Its number in the session.
        number: The step, from 0.
        serial: How many records there were before, in all steps.
        begin, before: The serial of the first record of this step, and of the step before; equal
            if that was not recorded.
        entries: The numbers of the entries of the records of this part.
        described: Entries and their lines, by number.
        digests: The values of the records of this part, and tensors that wait for their digests.
    """

    def __init__(
        self, folder: Path, role: str, table: Table, header: Callable[[], Mapping[str, Any]]
    ) -> None:
        self.role = role
        self.ordinal = -1
        self.number = 0
        self.digests = Digests()
        self.known: dict[tuple[Any, ...], int] = {}
        self.described: dict[int, tuple[Entry, Line | None]] = {}
        self._lines: dict[int, Line] = {}
        self._folder = folder
        self._table = table
        self._header = header
        self._writer: StreamWriter | None = None
        self._thread = threading.current_thread().name

    @property
    def writer(self) -> StreamWriter:
        """The file of the stream; made at first use, so that idle threads have none."""
        self.open()
        assert self._writer is not None
        return self._writer

    def open(self) -> None:
        """Make the file of the stream now."""
        if self._writer is None:
            info = StreamInfo(self.role, os.getpid(), self._thread, time.time(), self._header())
            self._writer = StreamWriter(stream_path(self._folder), info)

    def line(self, file: str, number: int, function: str, text: str) -> int:
        """Return the number of a line of source."""
        line = self.writer.line(file, number, function, text)
        self._lines[line] = Line(file, number, function, text)
        return line

    def entry(self, entry: Entry) -> int:
        """Return the number of an entry."""
        number = self.writer.entry(entry)
        self.described[number] = entry, self._lines.get(entry.line)
        return number

    def add(self, entry: int) -> None:
        """Append a record, whose values stand in `digests` already."""
        self.entries.append(entry)
        self.serial += 1
        if len(self.entries) >= PART:
            self.end_part()

    def end_part(self) -> None:
        """Write the records of a step that goes on."""
        self._write(whole=False)
        self._table.prune()

    def end_step(self, *, recorded: bool = True) -> None:
        """End the step; recorded: False if its operations were not to be recorded."""
        if recorded or self.entries:
            self._write(whole=True)
            self._table.prune()
        self.before, self.begin = self.begin, self.serial
        if not recorded:
            self.before = self.begin
        self.number += 1

    def rollback(self) -> None:
        """Drop what stands of a record that could not be finished."""
        self.digests.flush()
        whole = sum(self.described[entry][0].value_count for entry in self.entries)
        del self.digests.values[whole:]
        self._table.forget(self)

    def unseen(self, unseen: Unseen) -> None:
        """Write what the trace could not see."""
        self.writer.unseen(unseen)

    def close(self) -> None:
        """Write what is left and mark the clean end."""
        if self.entries:
            self._write(whole=False)
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, *, whole: bool) -> None:
        digests = self.digests
        digests.flush()
        if self._writer is not None or self.entries:
            self.writer.step(self.number, self.entries, array("Q", digests.values), whole=whole)
        self.entries.clear()
        digests.values = []
