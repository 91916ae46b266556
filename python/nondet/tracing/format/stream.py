"""A stream that was read: arrays of its steps, and records made of them on demand."""

import struct
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from nondet.tracing.format.blocks import VERSION
from nondet.tracing.format.entries import MANY, Entry
from nondet.tracing.format.kept import KeptValues
from nondet.tracing.records import Line, Read, Record, StreamInfo, Unseen, Write

_FORMATS = {"f": "<d", "i": "<q", "u": "<Q"}


@dataclass(frozen=True, eq=False, slots=True)
class StepData:
    """A step as arrays, which cannot be written to. Steps with equal entries share the array."""

    number: int
    entries: np.ndarray  # uint32, the entry of each record
    values: np.ndarray  # uint64, of all records in turn
    whole: bool  # False if the rest of the step is not in the trace


@dataclass(eq=False)
class Stream:
    """A stream of a trace.

    Attributes:
        file: Its name in the folder.
        version: Of its format.
        info: What it is of. Of a stream that was cut or damaged before that, the role is
            "unreadable FILE".
        lines, entries: By id. Equal entries of two streams may have different ids.
        steps: In the order in which they were recorded.
        unseen: What the trace could not see.
        kept: Values that were kept; they are read from the file when they are used.
        complete: True if it ends with the mark of a clean end.
        problem: What cut or damaged it, in words; what stands before is right. None if complete.
    """

    file: str
    info: StreamInfo
    kept: KeptValues
    version: int = VERSION
    lines: list[Line] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    steps: list[StepData] = field(default_factory=list)
    unseen: list[Unseen] = field(default_factory=list)
    complete: bool = False
    problem: str | None = None

    def offsets(self, position: int) -> np.ndarray:
        """Return where in `steps[position].values` the values of each record begin, and the end."""
        ends = np.cumsum(self._value_counts[self.steps[position].entries])
        return np.concatenate([[0], ends])

    def records(self, position: int) -> list[Record]:
        """Return the records of `steps[position]`, with the digests of all tensors that they read.

        "The step before" of a source is `steps[position - 1]`.
        """
        position = range(len(self.steps))[position]
        step = self.steps[position]
        words, starts = step.values.tolist(), self.offsets(position).tolist()
        earlier = _Earlier(self, position - 1) if position > 0 else None
        records: list[Record] = []
        for index, number in enumerate(step.entries.tolist()):
            values = _Words(words, starts[index])
            records.append(
                self._record(step.number, self.entries[number], values, records, earlier)
            )
        return records

    def _record(
        self,
        step: int,
        entry: Entry,
        values: "_Words",
        before: list[Record],
        earlier: "_Earlier | None",
    ) -> Record:
        numbers = tuple([_number(letter, values.take()) for letter in entry.numbers])
        state = values.take() if entry.has_state else None
        reads: list[Read] = []
        for shape in entry.reads:
            origin, back, slot, _ = shape.source
            digest = None
            if origin == "output":
                digest = before[len(before) - back].writes[slot].digest
            elif origin == "read":
                others = before[len(before) - back].reads if back else reads
                digest = others[slot].digest
            elif origin == "earlier":
                assert earlier is not None  # checked when the trace was read
                digest = earlier.digest(back, slot)
            elif shape.hashed:
                digest = values.take()
            reads.append(
                Read(shape.type, shape.source, digest, shape.alignment, shape.is_contiguous)
            )
        writes = [
            Write(shape.type, values.take() if shape.hashed else None, shape.into, shape.view_of)
            for shape in entry.writes
        ]
        facts: dict[str, Any] = dict(entry.facts)
        for name in entry.value_facts:
            if name.endswith(MANY):
                name = name.removesuffix(MANY)
                facts[name] = (*facts.get(name, ()), values.take())
            else:
                facts[name] = values.take()
        return Record(
            step=step,
            index=len(before),
            kind=entry.kind,
            name=entry.name,
            phase=entry.phase,
            module=entry.module,
            line=self._line(entry.line),
            caller=self._line(entry.caller),
            backward_line=self._line(entry.backward_line),
            backward_caller=self._line(entry.backward_caller),
            arguments=entry.arguments,
            numbers=numbers,
            state=state,
            reads=tuple(reads),
            writes=tuple(writes),
            facts=facts,
        )

    @cached_property
    def _value_counts(self) -> np.ndarray:
        return np.array([entry.value_count for entry in self.entries], np.int64)

    def _line(self, number: int) -> Line | None:
        return self.lines[number] if number >= 0 else None


class _Words:
    """Words of values, taken one after the other."""

    def __init__(self, words: list[int], start: int) -> None:
        self._words, self._next = words, start

    def take(self) -> int:
        word = self._words[self._next]
        self._next += 1
        return word


class _Earlier:
    """The digests of what a step wrote."""

    def __init__(self, stream: Stream, position: int) -> None:
        self._stream, self._step = stream, stream.steps[position]
        self._ends = stream.offsets(position)[1:]

    def digest(self, index: int, slot: int) -> int | None:
        entry = self._stream.entries[self._step.entries[index]]
        if not entry.writes[slot].hashed:
            return None
        after = sum(write.hashed for write in entry.writes[slot:]) + len(entry.value_facts)
        return int(self._step.values[self._ends[index] - after])


def _number(letter: str, word: int) -> float:
    value: float = struct.unpack(_FORMATS[letter], word.to_bytes(8, "little"))[0]
    return value
