"""Build a stream from the blocks of its file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nondet.json_files import kind_of, parse_json
from nondet.tracing.format.blocks import Block, BlockKind, digest, inflate, inflated_size
from nondet.tracing.format.entries import parse_entry, parse_line
from nondet.tracing.format.kept import KeptValues, Piece
from nondet.tracing.format.objects import parse_info, parse_kept, parse_unseen
from nondet.tracing.format.references import References
from nondet.tracing.format.stream import StepData, Stream
from nondet.tracing.format.values import BASED, STEP, VALUE, WHOLE, unpack_values
from nondet.tracing.records import Kept, StreamInfo

_JSON_COST = 24  # bytes of memory for a byte of JSON: "{}," becomes an object of 64 bytes
_STEP_COST = 1024  # bytes of memory for a step besides its values


class Budget:
    """The memory that a trace may take. A small file may hold much: it is compressed."""

    def __init__(self, memory: int) -> None:
        self._memory = self._left = memory

    def spend(self, size: int) -> None:
        """Take so many bytes. Raises ValueError if none are left."""
        self._left -= size
        if self._left < 0:
            raise ValueError(
                f"makes the trace larger than {self._memory} bytes of memory; "
                "read_trace(..., memory=BYTES) reads more"
            )


class StreamBuilder:
    """Builds a stream, block by block.

    The blocks have right checksums, but anybody may have written them: `add` and `finish` raise
    ValueError for what no block may hold.
    """

    def __init__(self, path: Path, budget: Budget) -> None:
        info = StreamInfo(role=f"unreadable {path.name}", pid=0, thread="", started=0.0)
        self.stream = Stream(path.name, info, KeptValues(path.absolute()))
        self._budget = budget
        self._counts: list[int] = []  # of values, by entry
        self._sequences: list[np.ndarray] = []
        self._sizes: list[int] = []  # of values, by sequence
        self._last: dict[int, np.ndarray] = {}  # values, by sequence
        self._parts: list[tuple[int, np.ndarray]] = []  # sequences and values of an unended step
        self._number = 0  # of that step
        self._joined: dict[tuple[int, ...], np.ndarray] = {}  # entries, by sequences
        self._kept: tuple[Kept, int, list[Piece]] | None = None
        self._add: dict[BlockKind, Callable[[Block], None]] = {
            BlockKind.LINES: self._add_lines,
            BlockKind.ENTRIES: self._add_entries,
            BlockKind.SEQUENCE: self._add_sequence,
            BlockKind.STEP: self._add_step,
            BlockKind.UNSEEN: self._add_unseen,
            BlockKind.KEPT: self._add_kept,
            BlockKind.DATA: self._add_data,
            BlockKind.END: self._add_end,
        }

    def add(self, block: Block) -> None:
        """Add the next block."""
        if (block.kind == BlockKind.INFO) != (block.number == 0):
            raise ValueError(f"is {block.kind.name}; the first block, and no other, is INFO")
        if (block.kind == BlockKind.DATA) != (self._kept is not None):
            raise ValueError(f"is {block.kind.name}; DATA, and nothing else, follows KEPT")
        if block.kind == BlockKind.INFO:
            self.stream.info = parse_info(self._parse(block))
        else:
            self._add[block.kind](block)

    def finish(self) -> Stream:
        """Return the stream of all blocks so far."""
        self._end_step(whole=False)
        references, checked, before = References(self.stream.entries), set(), None
        for step in self.stream.steps:
            if (pair := (id(before), id(step.entries))) not in checked:
                checked.add(pair)
                bad = references.find_bad(step.entries, before)
                if bad is not None:
                    raise ValueError(
                        f"record {bad} of step {step.number} reads a tensor that is not there"
                    )
            before = step.entries
        return self.stream

    def _parse(self, block: Block) -> Any:
        self._budget.spend(_JSON_COST * inflated_size(block.payload))
        return parse_json(inflate(block.payload))

    def _parse_list(self, block: Block) -> list[Any]:
        values = self._parse(block)
        if not isinstance(values, list):
            raise ValueError(f"holds {kind_of(values)} in place of a list")
        return values

    def _add_lines(self, block: Block) -> None:
        self.stream.lines += map(parse_line, self._parse_list(block))

    def _add_entries(self, block: Block) -> None:
        for value in self._parse_list(block):
            entry = parse_entry(value, len(self.stream.lines), self.stream.version)
            self.stream.entries.append(entry)
            self._counts.append(entry.value_count)

    def _add_sequence(self, block: Block) -> None:
        size = inflated_size(block.payload)
        self._budget.spend(size)
        entries = np.frombuffer(_whole_words(inflate(block.payload)), "<u4")
        if len(entries) and entries.max() >= len(self._counts):
            raise ValueError(f"names entry {entries.max()} of {len(self._counts)}")
        self._sequences.append(entries)
        self._sizes.append(sum([self._counts[entry] for entry in entries.tolist()]))

    def _add_step(self, block: Block) -> None:
        if len(block.payload) < STEP.size:
            raise ValueError("is too short for a step")
        number, sequence, flags = STEP.unpack_from(block.payload)
        if sequence >= len(self._sequences):
            raise ValueError(f"names sequence {sequence} of {len(self._sequences)}")
        if flags & ~(WHOLE | BASED) or any(block.payload[STEP.size - 3 : STEP.size]):
            raise ValueError("has unknown flags")
        if flags & BASED and sequence not in self._last:
            raise ValueError("is based on values that are not there")
        base = self._last[sequence] if flags & BASED else None
        size = self._sizes[sequence]
        self._budget.spend(_STEP_COST + VALUE.itemsize * min(size, 8 * len(block.payload)))
        values = unpack_values(memoryview(block.payload)[STEP.size :], size, base)
        self._last[sequence] = values
        if number != self._number:
            self._end_step(whole=False)
        self._number = number
        self._parts.append((sequence, values))
        if flags & WHOLE:
            self._end_step(whole=True)

    def _end_step(self, whole: bool) -> None:
        """Make a step of the parts that were added."""
        if not self._parts:
            return
        names, values = tuple([part[0] for part in self._parts]), [part[1] for part in self._parts]
        if names not in self._joined:
            arrays = [self._sequences[name] for name in names]
            if len(arrays) > 1:
                self._budget.spend(sum(array.nbytes for array in arrays))
            self._joined[names] = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
            self._joined[names].flags.writeable = False
        joined = values[0]
        if len(values) > 1:
            self._budget.spend(sum(array.nbytes for array in values))
            joined = np.concatenate(values)
            joined.flags.writeable = False
        self.stream.steps.append(StepData(self._number, self._joined[names], joined, whole))
        self._parts = []

    def _add_unseen(self, block: Block) -> None:
        self.stream.unseen.append(parse_unseen(self._parse(block)))

    def _add_kept(self, block: Block) -> None:
        kept, size = parse_kept(self._parse(block))
        self._kept = kept, size, []
        self._finish_kept()

    def _add_data(self, block: Block) -> None:
        assert self._kept is not None
        self._budget.spend(_STEP_COST)
        self._kept[2].append(Piece(block.offset, len(block.payload), digest(block.payload)))
        self._finish_kept()

    def _finish_kept(self) -> None:
        """Add kept values to the stream once all of their bytes have come."""
        assert self._kept is not None
        kept, size, pieces = self._kept
        missing = size - sum(piece.size for piece in pieces)
        if missing < 0:
            raise ValueError("holds more bytes than the kept values have")
        if missing == 0:
            self.stream.kept.add(kept, pieces)
            self._kept = None

    def _add_end(self, block: Block) -> None:
        if block.payload:
            raise ValueError("is an end that holds something")
        self.stream.complete = True


def _whole_words(data: bytes) -> bytes:
    if len(data) % 4:
        raise ValueError(f"holds {len(data)} bytes, which are no whole ids")
    return data
