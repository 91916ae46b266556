"""Compare steps of two streams by their arrays, without making records of them."""

from collections.abc import Hashable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nondet.tracing.compare.keys import place
from nondet.tracing.format import Entry, Stream


class _Layout(NamedTuple):
    """Of the entries of a step: what they are, in numbers of both streams, and which values count:
    a mask, or None for all.
    """

    content: NDArray[np.int64]
    mask: NDArray[np.bool_] | None


class StepComparison:
    """Tells whether steps of two streams are equal.

    Entries have other numbers in another stream, and their lines too. Steps of a loop have the same
    entries again and again, so what depends on these alone is computed once.
    """

    def __init__(self, a: Stream, b: Stream) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._streams = (_Contents(a, self._numbers), _Contents(b, self._numbers))

    def equal(self, a: int, b: int) -> bool:
        """Return True if the steps at two positions are equal for certain, provided that all before
        them are: reads that name an earlier record then have equal bits. A False may be wrong:
        equal work can stand at another place in the source.
        """
        (left, values_a), (right, values_b) = (
            stream.step(position) for stream, position in zip(self._streams, (a, b), strict=True)
        )
        return np.array_equal(left, right) and np.array_equal(values_a, values_b)


class _Contents:
    """The steps of a stream, as numbers that mean the same in another stream."""

    def __init__(self, stream: Stream, numbers: dict[Hashable, int]) -> None:
        self._stream = stream
        self._numbers = numbers
        self._layouts: dict[bytes, _Layout] = {}
        self._entries: dict[int, tuple[int, list[bool]]] = {}

    def step(self, position: int) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Return the contents and the values that count of a step."""
        step = self._stream.steps[position]
        entries = np.asarray(step.entries)
        name = entries.tobytes()
        layout = self._layouts.get(name)
        if layout is None:
            layout = self._layouts[name] = self._layout(entries)
        values = np.asarray(step.values, dtype=np.uint64)
        return layout.content, values if layout.mask is None else values[layout.mask]

    def _layout(self, entries: NDArray[np.int64]) -> _Layout:
        known = [self._entry(int(entry)) for entry in entries]
        content = np.array([number for number, _ in known if number >= 0], dtype=np.int64)
        mask = np.array([each for _, counts in known for each in counts], dtype=np.bool_)
        return _Layout(content, None if mask.all() else mask)

    def _entry(self, number: int) -> tuple[int, list[bool]]:
        """Return the number of an entry's content, -1 if it does not count, and for each of its
        values whether it counts.
        """
        if number not in self._entries:
            entry = self._stream.entries[number]
            if entry.kind == "generator":
                self._entries[number] = -1, [False] * entry.value_count
            else:
                content = self._numbers.setdefault(self._content(entry), len(self._numbers))
                facts = len(entry.value_facts)
                counts = [True] * (entry.value_count - facts) + [False] * facts
                self._entries[number] = content, counts
        return self._entries[number]

    def _content(self, entry: Entry) -> Hashable:
        """Return all of an entry that must agree, with the lines for their numbers."""
        lines = self._stream.lines
        line, backward = (
            place(lines[number]) if number >= 0 else None
            for number in (entry.line, entry.backward_line)
        )
        return (
            *entry[:4],
            line,
            backward,
            entry.arguments,
            entry.numbers,
            entry.has_state,
            tuple((read.type, read.source[:3], read.hashed) for read in entry.reads),
            entry.writes,
        )
